"""Two-tower document search: train, compare honestly, index and search."""
