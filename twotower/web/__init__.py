"""The web app: search, documents, runs and comparisons as pages with addresses that can be shared."""
