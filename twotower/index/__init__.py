"""Indexes: one class per backend behind one small interface, and the manifest that ties an index to its model."""
