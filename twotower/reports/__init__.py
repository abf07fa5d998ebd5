"""What is made of the records of runs: tables, comparisons, the best run, HTML, plots."""
