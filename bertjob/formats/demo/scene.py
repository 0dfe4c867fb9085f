"""What the paragraphs are about: for each scene its facts, and how English tells them and asks for them.

In the phrases {v} is the fact's value, {name} the thing's name with its article, {its} a possessive, {town} and {count}
belong to the opening. A telling is a predicate ("was launched in {v}"), so that it can follow a name, "which" or "it".
"""

from typing import NamedTuple


class Fact(NamedTuple):
    """One thing that can be told of, say, a ship.

    Attributes:
        kind: what the value is: a key of names.PATTERNS or names.THINGS, or a range such as ``9-48 sailors``.
        tells: predicates with {v}.
        asks: questions for the value, with {name}.
        finds: questions for the name, with {v}.
        fronts: phrases that may stand before the name and a comma, with {v}.
    """

    kind: str
    tells: tuple[str, ...]
    asks: tuple[str, ...]
    finds: tuple[str, ...]
    fronts: tuple[str, ...] = ()


class Scene(NamedTuple):
    """A kind of paragraph.

    Attributes:
        title: title of the article.
        kind: what its things are: a key of names.PATTERNS.
        openings: first sentences, with {count}, {town} or {names}.
        facts: what can be told of each thing.
        asides: sentences that answer nothing.
    """

    title: str
    kind: str
    openings: tuple[str, ...]
    facts: tuple[Fact, ...]
    asides: tuple[str, ...]
