"""The version, apart from everything else: every room may read it, and packaging does."""

__version__ = "0.1.0"
