"""`twotower ui`: runs, one run, search and comparison in one terminal app; reads the run folders that exist."""
