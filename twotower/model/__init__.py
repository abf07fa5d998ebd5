"""Towers (mlp, gru, lstm, rnn), the model that holds two of them, and encoding whole collections."""
