"""Choices: one YAML for each part, found by hydra.searchpath=[pkg://acme_search.conf]."""
