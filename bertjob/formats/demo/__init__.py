"""A question-answering set of the project's own, made from word lists: for trying the whole tool with no download.

Each paragraph tells the same facts of several ships, towns, people …, so the kind of answer that a question asks for
is there more than once and only reading decides. No name of the dev part stands in the training part. The set is a
pure function of `SEED`; its form is SQuAD v1.1.
"""

import json
from collections.abc import Sequence
from random import Random
from typing import Any, Final, NamedTuple

from bertjob.formats.demo.names import Part
from bertjob.formats.demo.prose import sentences
from bertjob.formats.demo.scene import Scene
from bertjob.formats.demo.scenes import SCENES
from bertjob.formats.demo.things import Place, Thing, Told, drawer, kind_of, strip, things_of

SEED: Final = 1
PARAGRAPHS: Final[dict[Part, int]] = {"train": 300, "dev": 60}
QUESTIONS_A_PARAGRAPH: Final = 6


class Question(NamedTuple):
    """A question, the kind of its answer (``person``, ``metres`` …), and the answer's place in the paragraph."""

    text: str
    kind: str
    answer: Place


class Passage(NamedTuple):
    """A paragraph, its questions, and for each kind of answer all that the paragraph offers."""

    title: str
    context: str
    questions: tuple[Question, ...]
    candidates: dict[str, frozenset[str]]


def demo_set(part: Part) -> bytes:
    """The demo set's `part` as the bytes of a SQuAD v1.1 file."""
    articles: dict[str, list[dict[str, Any]]] = {}
    for number, passage in enumerate(passages(part)):
        questions = [
            {
                "answers": [{"answer_start": question.answer.start, "text": question.answer.words}],
                "question": question.text,
                "id": f"{part}-{number:03d}-{index}",
            }
            for index, question in enumerate(passage.questions)
        ]
        articles.setdefault(passage.title, []).append({"context": passage.context, "qas": questions})
    data = [{"title": title, "paragraphs": paragraphs} for title, paragraphs in articles.items()]
    return json.dumps({"version": "1.1", "data": data}, ensure_ascii=False).encode()


def passages(part: Part, seed: int = SEED) -> list[Passage]:
    """The paragraphs of `part`: a pure function."""
    rng = Random(f"{seed} {part}")
    return [_passage(SCENES[number % len(SCENES)], part, rng) for number in range(PARAGRAPHS[part])]


def _passage(scene: Scene, part: Part, rng: Random) -> Passage:
    draw = drawer(part, rng)
    town, _ = strip(draw("town", "opening"))
    things = things_of(scene, draw, rng)
    context, places = strip(" ".join(sentences(scene, town, things, rng)))
    candidates = {scene.kind: {places[thing.key][0].words for thing in things}}
    for thing in things:
        for told in thing.told:
            candidates.setdefault(kind_of(told.fact), set()).add(places[told.key][0].words)
    pairs = [(thing, told) for thing in things for told in thing.told]
    asked = rng.sample(pairs, min(len(pairs), QUESTIONS_A_PARAGRAPH))
    return Passage(
        scene.title,
        context,
        tuple(_question(scene, thing, told, places, rng) for thing, told in asked),
        {kind: frozenset(answers) for kind, answers in candidates.items()},
    )


def _question(scene: Scene, thing: Thing, told: Told, places: dict[str, list[Place]], rng: Random) -> Question:
    """Ask for the fact's value, or for the thing of which it is told."""
    value = places[told.key][0]
    if rng.random() < 0.65:
        text = rng.choice(told.fact.asks).format(name=strip(thing.name)[0])
        return Question(text, kind_of(told.fact), value)
    text = rng.choice(told.fact.finds).format(v=strip(told.value)[0])
    return Question(text, scene.kind, _nearest(places[thing.key], value.start))


def _nearest(places: Sequence[Place], start: int) -> Place:
    return min(places, key=lambda place: abs(place.start - start))
