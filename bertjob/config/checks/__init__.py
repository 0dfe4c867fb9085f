"""Checks across keys that need no site and no machine."""
