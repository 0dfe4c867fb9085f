"""Checkpoints: complete or absent."""
