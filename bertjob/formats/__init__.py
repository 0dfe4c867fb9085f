"""File formats in plain Python, official scores, and recognition of weights on disk; no torch."""
