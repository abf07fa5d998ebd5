"""Run records, the ledger over them, comparison, plots and reports; nothing in here imports torch."""
