"""Running text to documents and sentences, by rules: abbreviations, initials, acronyms and decimals end none.

A mark of the end is a ``.``, ``!``, ``?`` or ``…``, with closing quotes and brackets, before white space and what may
begin a sentence. Marks of Chinese and Japanese need no white space.
"""

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from bertjob.errors import DataError
from bertjob.train.corpus.sources import Span

# ruff: noqa: RUF001  the quotes and dashes that look like others are those that are meant

_CANDIDATE: Final = re.compile(
    r"""[.!?…]+ ["'”’»)\]]*      # the mark, and what it closes
        (?P<gap>\s+)
        (?= ["'“‘«(\[—–-]* (?P<next>[^\W_a-zß-öø-ÿ]\w*) )  # a word with a capital, or a number
      | [。！？]+[」』”’）]* (?P<none>)""",
    re.VERBOSE,
)
_BEFORE: Final = re.compile(r"""[^\s"'“”‘’«»()\[\]—–]*$""")
_INITIAL: Final = re.compile(r"[^\W\d_]")
_ACRONYM: Final = re.compile(r"[^\W\d_](?:\.[^\W\d_])+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NEVER: Final = _words(
    "adm al assoc brig capt cf cmdr col cpl dr e.g eds esp ex fig figs ft fr gen gov hon i.e jan feb lt maj messrs mgr"
    " mlle mme mmes mr mrs ms msgr mt no nos nr op pp pres prof pvt rep reps rev sen sens sgt sra srta st ste vol"
    " vols vs viz"
)
"""A name or a number follows these: they never end a sentence."""
_SOMETIMES: Final = _words(
    "a.m p.m aug apr ave bldg blvd bros co corp dec dept dist est etc inc jr ltd mar nov oct ph.d rd sep sept sr"
)
"""These may end a sentence: they do where a word follows that mostly begins one."""
_STARTERS: Final = _words(
    "A After All Although An And As At But By During For From He Her His However I If In It Its My No On Once One Our"
    " She Since So Some That The Their Then There These They This Those Though To Under Until We What When Where While"
    " Who Why With You Your"
)


def split(text: str) -> list[str]:
    """The sentences of a paragraph, with white space made single spaces; empty where there is no text."""
    text = " ".join(text.split())
    sentences, begin = [], 0
    for match in _CANDIDATE.finditer(text):
        if _ends(text[begin : match.end()], match):
            sentences.append(text[begin : match.end()].rstrip())
            begin = match.end()
    if begin < len(text):
        sentences.append(text[begin:])
    return sentences


def _ends(sentence: str, match: re.Match[str]) -> bool:
    mark = match.group()
    if match["gap"] is None or not mark.startswith(".") or mark.startswith(".."):
        return True
    found = _BEFORE.search(sentence[: len(sentence) - len(mark)])
    before = found.group() if found else ""
    word = before.lower()
    if word in _NEVER or (_INITIAL.fullmatch(before) and before.isupper() and before != "I"):
        return False
    if word in _SOMETIMES or _ACRONYM.fullmatch(before):
        return match["next"] in _STARTERS
    return True


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
        return [sentence for paragraph in _EMPTY_LINES.split(text) for sentence in split(paragraph)]
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
