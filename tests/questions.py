"""SQuAD cut down to what a test can train on."""

import json
from pathlib import Path


def first_questions(source: Path, target: Path, count: int) -> Path:
    """Write the first `count` questions on paragraphs of up to 400 characters as a SQuAD file of their own."""
    articles, left = [], count
    for article in json.loads(source.read_text(encoding="utf-8"))["data"]:
        paragraphs = []
        for paragraph in article["paragraphs"]:
            if left and len(paragraph["context"]) <= 400:
                paragraphs.append({**paragraph, "qas": paragraph["qas"][:left]})
                left -= len(paragraphs[-1]["qas"])
        if paragraphs:
            articles.append({**article, "paragraphs": paragraphs})
    target.write_text(json.dumps({"version": "1.1", "data": articles}), encoding="utf-8")
    return target
