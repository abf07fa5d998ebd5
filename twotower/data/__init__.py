"""Collections of documents, queries and judgements: sources, the document store, batches. Knows nothing of models."""
