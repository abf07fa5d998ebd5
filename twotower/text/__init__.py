"""Text to token ids: tokenizer, vocabulary, and the on-disk token cache. Knows nothing of data sources or models."""
