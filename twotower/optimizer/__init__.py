"""Optimizers: torch's own by their path, parameter groups, and an Adam that is cheap for large vocabularies."""
