"""What is fast because of the processor it runs on; each piece has a plain torch fallback."""
