"""Prepare a corpus: ``python -m bertjob.train.corpus '{"corpora": […], "out": …}'`` (a Preparation as JSON).

Prints a JSON object a line: how far it is, and last what it made. What is wrong goes to stderr in one line, with exit
code 1.
"""

import sys
from typing import Any

import msgspec

from bertjob.errors import BertjobError
from bertjob.train.corpus.manifest import Manifest
from bertjob.train.corpus.prepare import Preparation, Progress, prepare


def main(request: str) -> int:
    """Prepare what `request` asks for; the exit code."""
    try:
        _say(summary(prepare(msgspec.json.decode(request, type=Preparation), _say)))
    except (BertjobError, OSError) as error:
        strerror = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.strerror else error
        print(strerror, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130
    return 0


def summary(manifest: Manifest) -> dict[str, Any]:
    """What a preparation holds, in numbers."""
    return {
        "shards": len(manifest.shards),
        "text_bytes": sum(source.bytes for source in manifest.sources),
        "vocabulary_size": manifest.vocabulary.size,
        "vocabulary_sha256": manifest.vocabulary.sha256,
        "train": msgspec.to_builtins(manifest.train),
        "validation": msgspec.to_builtins(manifest.validation),
    }


def _say(what: Progress | dict[str, Any]) -> None:
    print(msgspec.json.encode(what).decode(), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
