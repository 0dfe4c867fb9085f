"""Batches and tokenizers, shared by the tasks."""
