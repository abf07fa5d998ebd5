"""Towers (mlp, gru and its recurrent kin), the model that holds two of them, and encoding whole collections."""
