"""Search: open a run, encode a query, search its index, show what was found in a terminal, a page or Python."""
