"""Readers of pretrained weights, whoever wrote them: each gives transformers' names."""
