"""Losses over a batch of queries, their documents and the mask of forbidden negatives; one file each."""
