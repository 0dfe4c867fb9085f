"""The documents of a span: each one a list of its sentences."""

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from bertjob.errors import DataError
from bertjob.train.corpus import sentences
from bertjob.train.corpus.sources import Span

_EMPTY_LINES: Final = re.compile(r"\n(?:[ \t\r\f\v]*\n)+")
_TWO_EMPTY_LINES: Final = re.compile(r"\n(?:[ \t\r\f\v]*\n){2,}")


class _Record(msgspec.Struct):
    text: str


def documents(span: Span, *, prose: bool) -> Iterator[list[str]]:
    """The documents of a span that have sentences.

    Args:
        span: whole documents.
        prose: sentences are to be found; else each line is one.

    Raises:
        DataError: it is not UTF-8, or not the JSON that it should be; says the file and the byte.
    """
    if span.form == "jsonl":
        found = (_of_text(text, prose) for text in _records(span))
    elif prose:
        found = (_of_text(text, prose) for text in _TWO_EMPTY_LINES.split(_decoded(span)))
    else:
        found = (_of_text(text, prose) for text in _EMPTY_LINES.split(_decoded(span)))
    return (document for document in found if document)


def _of_text(text: str, prose: bool) -> list[str]:
    if prose:
        return [sentence for paragraph in _EMPTY_LINES.split(text) for sentence in sentences.split(paragraph)]
    return [line for raw in text.split("\n") if (line := raw.strip())]


def _decoded(span: Span) -> str:
    try:
        return span.text.decode("utf-8-sig" if span.offset == 0 else "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{span.path}: not UTF-8 at byte {span.offset + error.start}") from None


def _records(span: Span) -> Iterator[str]:
    decoder, offset = msgspec.json.Decoder(_Record), span.offset
    for line in span.text.split(b"\n"):
        if line.strip():
            try:
                yield decoder.decode(line.removeprefix(b"\xef\xbb\xbf")).text
            except UnicodeDecodeError as error:
                raise DataError(f"{span.path}: not UTF-8 at byte {offset + error.start}") from None
            except msgspec.MsgspecError as error:
                raise DataError(f'{span.path}: the line at byte {offset} is not {{"text": "…", …}} ({error})') from None
        offset += len(line) + 1
