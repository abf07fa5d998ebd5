"""Evaluation: ranking, metrics, chance and lexical baselines, intervals and tests, the verdict, the report."""
