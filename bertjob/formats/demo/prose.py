"""Sentences about things, in varied English: one thing after the other, or fact by fact in comparison."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Final, TypeVar

from bertjob.formats.demo.scene import Scene
from bertjob.formats.demo.things import Thing, Told

_T = TypeVar("_T")

_COUNTS: Final = {2: "two", 3: "three", 4: "four", 5: "five"}


def sentences(scene: Scene, town: str, things: Sequence[Thing], rng: Random) -> list[str]:
    """An opening, the facts of all `things`, and up to two sentences that answer nothing."""
    blocks = list(_one_by_one(things, rng) if rng.random() < 0.6 else _side_by_side(things, rng))
    for aside in rng.sample(scene.asides, rng.choice((0, 1, 1, 2))):
        blocks.insert(rng.randint(0, len(blocks)), [aside])
    return [_opening(scene, town, things, rng), *(sentence for block in blocks for sentence in block)]


def _opening(scene: Scene, town: str, things: Sequence[Thing], rng: Random) -> str:
    names = [thing.name for thing in things]
    count = _COUNTS[len(things)]
    return rng.choice(scene.openings).format(
        town=town, count=count, Count=count.capitalize(), names=f"{', '.join(names[:-1])} and {names[-1]}"
    )


def _one_by_one(things: Sequence[Thing], rng: Random) -> Iterator[list[str]]:
    """A block of sentences for each thing, which speak of it by its name at first, then mostly by a pronoun."""
    for thing in things:
        portions = _portions(rng.sample(thing.told, len(thing.told)), rng)
        introduce = _sentence if thing is things[0] else _introduction
        block = [introduce(thing, thing.name, portions[0], rng)]
        for portion in portions[1:]:
            block.append(_sentence(thing, thing.pronoun if rng.random() < 0.7 else thing.name, portion, rng))
        yield block


def _side_by_side(things: Sequence[Thing], rng: Random) -> Iterator[list[str]]:
    """For each fact a block of sentences that compares the things."""
    keys = sorted({told.fact for thing in things for told in thing.told})
    for fact in rng.sample(keys, len(keys)):
        clauses = [
            f"{thing.name} {_predicate(thing, told, rng)}"
            for thing in rng.sample(things, len(things))
            for told in thing.told
            if told.fact == fact
        ]
        yield [_compare(pair, rng) for pair in _portions(clauses, rng)]


def _compare(clauses: Sequence[str], rng: Random) -> str:
    if len(clauses) == 1:
        return _capital(f"{clauses[0]}.")
    return _capital(f"{clauses[0]}{rng.choice((', while ', ', whereas ', '; ', ', and ', ', but '))}{clauses[1]}.")


def _introduction(thing: Thing, subject: str, portion: Sequence[Told], rng: Random) -> str:
    """The first sentence about a thing that is not the paragraph's first."""
    if len(portion) == 2 or rng.random() < 0.5:
        return _sentence(thing, subject, portion, rng)
    predicate = _predicate(thing, portion[0], rng)
    return rng.choice(
        (
            f"As for {subject}, {thing.pronoun} {predicate}.",
            f"Then there is {subject}, {thing.relative} {predicate}.",
        )
    )


def _sentence(thing: Thing, subject: str, portion: Sequence[Told], rng: Random) -> str:
    """One or two facts in one sentence."""
    first, last = portion[0], portion[-1]
    predicate = _predicate(thing, last, rng)
    if first is last:
        return _capital(f"{subject} {predicate}.")
    if first.fact.fronts and rng.random() < 0.5:
        return f"{rng.choice(first.fact.fronts).format(v=first.value)}, {subject} {predicate}."
    if subject is thing.name and rng.random() < 0.4:
        return _capital(f"{subject}, {thing.relative} {_predicate(thing, first, rng)}, {predicate}.")
    return _capital(f"{subject} {_predicate(thing, first, rng)} and {predicate}.")


def _predicate(thing: Thing, told: Told, rng: Random) -> str:
    return rng.choice(told.fact.tells).format(v=told.value, its=thing.possessive)


def _portions(items: Sequence[_T], rng: Random) -> list[Sequence[_T]]:
    """The items in ones and twos."""
    portions = []
    start = 0
    while start < len(items):
        size = rng.choice((1, 2, 2))
        portions.append(items[start : start + size])
        start += size
    return portions


def _capital(sentence: str) -> str:
    """The sentence with a capital first letter (a mark is left as it is: a name begins with one)."""
    return sentence[0].upper() + sentence[1:]
