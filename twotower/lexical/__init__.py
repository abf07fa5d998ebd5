"""BM25 over title and text: words, sparse scores, their files, and their fusion with a model's similarities."""
