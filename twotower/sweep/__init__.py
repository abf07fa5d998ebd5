"""Many runs from one command: which jobs there are, what is left of them, how far they are, how they ended."""
