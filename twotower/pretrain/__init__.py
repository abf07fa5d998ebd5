"""Training on the corpus itself, before any pair is seen."""
