"""The life of a run on the login node."""
