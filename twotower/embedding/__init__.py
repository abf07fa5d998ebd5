"""Word vectors to start from: random, trained on the corpus (cbow, skipgram), or read (glove, word2vec files)."""
