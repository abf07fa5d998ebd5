"""Learning rate schedules: warm-up, then cosine, linear, step, on a plateau, or constant."""
