"""Pictures of runs: every function takes runs and returns a matplotlib Figure; used by notebook and report alike."""
