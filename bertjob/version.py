"""The version, apart from everything else: every package may read it, and packaging does."""

__version__ = "0.1.0"
