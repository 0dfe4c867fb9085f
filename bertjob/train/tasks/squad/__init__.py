"""Extractive question answering: SQuAD files in, predictions and scores out."""
