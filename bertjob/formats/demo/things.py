"""The things of a paragraph, with names and values drawn at random.

Names and values carry marks, ``⟦key|words⟧``, through all sentences; `strip` takes the marks out again and says where
each stood. So the place of an answer is known by construction, not searched for.
"""

import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Final, NamedTuple

from bertjob.formats.demo.names import PATTERNS, THINGS, Part, words
from bertjob.formats.demo.scene import Fact, Scene

Draw = Callable[[str, str], str]
"""(kind, key) -> a marked value of that kind."""

_RANGE: Final = re.compile(r"([\d,]+)-([\d,]+) ?(.*)")
_MARK: Final = re.compile(r"⟦(\w+)\|([^⟧]*)⟧")


class Place(NamedTuple):
    """Where marked words stand in a text."""

    start: int
    words: str


class Told(NamedTuple):
    """A fact of one thing, with its marked value."""

    key: str
    fact: Fact
    value: str


class Thing(NamedTuple):
    """A ship, a town, a person … with its marked name and what the paragraph tells of it."""

    key: str
    name: str
    pronoun: str
    told: tuple[Told, ...]

    @property
    def relative(self) -> str:
        """The word that begins a relative clause."""
        return "which" if self.pronoun == "it" else "who"

    @property
    def possessive(self) -> str:
        """The word for {its}."""
        return {"it": "its", "she": "her", "he": "his"}[self.pronoun]


def strip(marked: str) -> tuple[str, dict[str, list[Place]]]:
    """The text without its marks, and the places of each key in order."""
    places: dict[str, list[Place]] = {}
    text, end = "", 0
    for mark in _MARK.finditer(marked):
        text += marked[end : mark.start()]
        places.setdefault(mark[1], []).append(Place(len(text), mark[2]))
        text += mark[2]
        end = mark.end()
    return text + marked[end:], places


def kind_of(fact: Fact) -> str:
    """What the fact's value is: ``person``, ``town``, ``metres``, ``year`` and so on."""
    span = _RANGE.fullmatch(fact.kind)
    return (span[3] or "year") if span else fact.kind


def drawer(part: Part, rng: Random) -> Draw:
    """A source of values that gives no word and no number twice within a paragraph."""
    rest: dict[str, list[str]] = {}
    numbers: set[str] = set()

    def take(pool: str, source: Sequence[str]) -> str:
        if not rest.get(pool):
            rest[pool] = rng.sample(source, len(source))
        return rest[pool].pop()

    def draw(kind: str, key: str) -> str:
        if kind in PATTERNS:
            pattern = rng.choice(PATTERNS[kind])
            name = re.sub(r"\{(\w+)\}", lambda pool: take(pool[1], words(pool[1], part)), pattern)
            return name.replace("<", f"⟦{key}|").replace(">", "⟧")
        if kind in THINGS:
            return f"⟦{key}|{take(kind, THINGS[kind])}⟧"
        number = _number(kind, rng)
        while number in numbers:
            number = _number(kind, rng)
        numbers.add(number)
        return f"⟦{key}|{number}⟧"

    return draw


def _number(kind: str, rng: Random) -> str:
    span = _RANGE.fullmatch(kind)
    assert span, f"{kind} is no range"
    low, high = (int(end.replace(",", "")) for end in span.group(1, 2))
    number = rng.randint(low, high)
    return f"{number:,} {span[3]}" if span[3] else str(number)


def things_of(scene: Scene, draw: Draw, rng: Random) -> list[Thing]:
    """Two to five things of the scene's kind, which share most of two to six facts."""
    count = rng.choices((2, 3, 4, 5), (55, 32, 9, 4))[0]
    fewest = 3 if count == 2 else 2
    facts = rng.sample(range(len(scene.facts)), max(fewest, rng.choices((2, 3, 4, 5, 6), (20, 44, 24, 8, 4))[0]))
    things = []
    for number in range(count):
        key = f"n{number}"
        name = draw(scene.kind, key)
        told = []
        for fact in facts:
            if number < 2 or fact == facts[0] or rng.random() < 0.85:
                fact_key = f"{key}v{fact}"
                told.append(Told(fact_key, scene.facts[fact], draw(scene.facts[fact].kind, fact_key)))
        things.append(Thing(key, name, _pronoun(scene, name), tuple(told)))
    return things


def _pronoun(scene: Scene, marked_name: str) -> str:
    if scene.kind != "person":
        return "it"
    first_name = strip(marked_name)[0].split()[0]
    return "she" if first_name in {*words("woman", "train"), *words("woman", "dev")} else "he"
