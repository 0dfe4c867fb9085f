"""Prepare a corpus: ``python -m bertjob.train.corpus '{"corpora": […], "out": …}'``.

The argument is a Preparation as JSON. Prints a JSON object a line: a PreparationProgress with each step, and last what
was Prepared (see bertjob.rundir.messages). What is wrong goes to stderr in one line, with exit code 1.
"""

import sys

import msgspec

from bertjob.errors import BertjobError
from bertjob.formats.corpus_manifest import Manifest
from bertjob.rundir.messages import Preparation, PreparationProgress, Prepared, line
from bertjob.text import reason
from bertjob.train.corpus.prepare import prepare


def main(request: str) -> int:
    """Prepare what `request` asks for; the exit code."""
    try:
        _say(summary(prepare(msgspec.json.decode(request, type=Preparation), _say)))
    except (BertjobError, OSError) as error:
        named = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
        print(f"{named}{reason(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130
    return 0


def summary(manifest: Manifest) -> Prepared:
    """What a preparation has made, in numbers."""
    return Prepared(
        shards=len(manifest.shards),
        text_bytes=sum(source.bytes for source in manifest.sources),
        vocabulary_size=manifest.vocabulary.size,
        vocabulary_sha256=manifest.vocabulary.sha256,
        train=msgspec.to_builtins(manifest.train),
        validation=msgspec.to_builtins(manifest.validation),
    )


def _say(message: PreparationProgress | Prepared) -> None:
    print(line(message), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
