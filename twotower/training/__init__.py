"""One run from a resolved config to a finished run folder."""
