"""jobs/schedules.md and its plots: every schedule as the training computes it."""

import textwrap
from dataclasses import dataclass

from bertjob.config.job import Job, Schedule
from bertjob.config.load import load_job
from bertjob.train.schedule import learning_rate, warmup_steps
from tests.plots import Band, Curve, Plot

STEPS = 1000
"""Of schedules that are shown by themselves."""


@dataclass(frozen=True)
class Section:
    """A schedule on the page.

    Attributes:
        name: of its plot.
        heading: above it.
        words: what it is, in Markdown.
        keys: how a job says it, in YAML.
        plot: of it.
    """

    name: str
    heading: str
    words: str
    keys: str
    plot: Plot


def rates(schedule: Schedule, peak: float = 1.0, total: int = STEPS) -> list[float]:
    """The learning rate of each step."""
    return [learning_rate(schedule, peak, step, total) for step in range(total)]


def _warmup(schedule: Schedule, total: int = STEPS, name: str = "warm-up") -> Band:
    return Band(name, 0, warmup_steps(schedule.warmup_proportion, schedule.total_steps or total))


def _job(name: str) -> tuple[Job, list[float]]:
    job = load_job(name, ()).value
    assert job.train.max_steps is not None
    return job, rates(job.schedule, job.optimizer.lr, job.train.max_steps)


def _linear() -> Section:
    schedule = Schedule(name="linear", warmup_proportion=0.1)
    curves = [
        Curve("warmup_proportion: 0.1", rates(schedule), at=0.33),
        Curve(
            "no warm-up",
            rates(Schedule(name="linear", warmup_proportion=0)),
            tone="b",
            at=0.34,
            above=-18,
            anchor="end",
            dashed=True,
        ),
    ]
    return Section(
        "linear",
        "Linear",
        "The default, and BERT's own: a straight line up to the peak, and one down to 0 at the end of the training.",
        "schedule: {name: linear, warmup_proportion: 0.1}",
        Plot("linear: share of optimizer.lr", curves, [_warmup(schedule)]),
    )


def _cosine() -> Section:
    schedule = Schedule(name="cosine", warmup_proportion=0.1)
    straight = rates(Schedule(name="linear", warmup_proportion=0.1))
    curves = [
        Curve("linear", straight, tone="b", at=0.72, above=16, dashed=True),
        Curve("cosine", rates(schedule), at=0.32, above=16),
    ]
    return Section(
        "cosine",
        "Cosine",
        "Half a cosine down to 0: longer near the peak, and longer near the end.",
        "schedule: {name: cosine, warmup_proportion: 0.1}",
        Plot("cosine: share of optimizer.lr", curves, [_warmup(schedule)]),
    )


def _constant() -> Section:
    schedule = Schedule(name="constant", warmup_proportion=0.1)
    return Section(
        "constant",
        "Constant",
        "No decay after the warm-up. The job `mlm` has no warm-up either.",
        "schedule: {name: constant, warmup_proportion: 0.1}",
        Plot(
            "constant: share of optimizer.lr",
            [Curve("constant", rates(schedule), at=0.45, above=-20)],
            [_warmup(schedule)],
        ),
    )


def _exponential() -> Section:
    job, found = _job("pretrain-seq128")
    said = job.schedule
    return Section(
        "exponential",
        "Exponential",
        "DeepSpeed's `warmup_linear_decay_exp` (LE): a factor of `decay_rate` each `decay_steps` steps. Shown is the "
        f"job `pretrain-seq128`: its warm-up is laid out for {said.total_steps:,} steps, and it takes {len(found):,}.",
        """\
        schedule:
          name: exponential
          warmup_proportion: 0.02
          decay_rate: 0.90
          decay_steps: 1000
          total_steps: 187000""",
        Plot(
            "exponential: learning rate of pretrain-seq128",
            [Curve("0.90 each 1,000 steps", found, at=0.33, above=14)],
            [_warmup(said)],
        ),
    )


def _polynomial() -> Section:
    powers = {1.0: ("c", 0.6, 12, "start"), 2.0: ("a", 0.5, 9, "start"), 4.0: ("b", 0.26, -14, "end")}
    curves = [
        Curve(
            f"power: {power:g}",
            rates(Schedule(name="polynomial", warmup_proportion=0.1, power=power)),
            tone=tone,
            at=at,
            above=above,
            anchor=anchor,
        )
        for power, (tone, at, above, anchor) in powers.items()
    ]
    return Section(
        "polynomial",
        "Polynomial",
        "What is left of the training, to the power of `power`: 1 is linear, 2 the default.",
        "schedule: {name: polynomial, warmup_proportion: 0.1, power: 2}",
        Plot("polynomial: share of optimizer.lr", curves, [_warmup(Schedule())]),
    )


def _squared() -> Section:
    ways = {1.0: ("b", 0.3, 8, "end"), 2.0: ("a", 0.37, -16, "start")}
    curves = [
        Curve(
            f"warmup_power: {power:g}",
            rates(Schedule(name="linear", warmup_proportion=0.5, warmup_power=power)),
            tone=tone,
            at=at,
            above=above,
            anchor=anchor,
            dashed=power == 1,
        )
        for power, (tone, at, above, anchor) in ways.items()
    ]
    return Section(
        "squared",
        "Squared warm-up",
        "`warmup_power: 2` rises slowly at first, for any schedule; with `exponential` it is DeepSpeed's EE.",
        "schedule: {name: linear, warmup_proportion: 0.5, warmup_power: 2}",
        Plot("squared warm-up: share of optimizer.lr", curves, [_warmup(Schedule(warmup_proportion=0.5))]),
    )


def _offset() -> Section:
    job, found = _job("pretrain-64k-seq128")
    bare = [rate - job.schedule.offset for rate in found]
    return Section(
        "offset",
        "Offset",
        "`offset` is added to the rate of each step, so that it neither begins nor ends near 0. Shown is the job "
        "`pretrain-64k-seq128`, with a squared warm-up.",
        """\
        schedule:
          name: exponential
          warmup_proportion: 0.06
          warmup_power: 2
          decay_rate: 0.90
          decay_steps: 250
          offset: 1e-3
          total_steps: 7500""",
        Plot(
            "offset: learning rate of pretrain-64k-seq128",
            [
                Curve("offset: 0", bare, tone="b", at=0.3, above=-18, anchor="end", dashed=True),
                Curve("offset: 1e-3", found, at=0.28, above=16),
            ],
            [_warmup(job.schedule)],
        ),
    )


def _rewarmup() -> Section:
    (_, first), (_, second) = _job("pretrain-seq128"), _job("pretrain-seq512")
    return Section(
        "rewarmup",
        "Re-warm-up",
        "A second phase is a run of its own that starts from the first one's model, so its schedule begins anew: "
        "DeepSpeed's `rewarmup`. Shown are `pretrain-seq128` and, from its last step on, `pretrain-seq512`.",
        "bertjob submit pretrain-seq128 pretrain-seq512 --chain …",
        Plot(
            "re-warm-up: learning rate of pretrain-seq128, then pretrain-seq512",
            [
                Curve("pretrain-seq128", first, at=0.33, above=14),
                Curve("pretrain-seq512", second, first=len(first), tone="b", at=1.0, above=34, anchor="end"),
            ],
            [Band("", len(first), len(first) + len(second))],
        ),
    )


def sections() -> list[Section]:
    """All of the page, in its order."""
    makers = (_linear, _cosine, _constant, _exponential, _polynomial, _squared, _offset, _rewarmup)
    return [make() for make in makers]


def files() -> dict[str, str]:
    """The page and its plots, by their paths below jobs/."""
    shown = sections()
    plots = {f"schedules/{section.name}.svg": section.plot.svg() for section in shown}
    return {"schedules.md": _page(shown), **plots}


def _page(shown: list[Section]) -> str:
    words = (
        "The learning rate of each step is `offset + lr x factor`: the peak is `optimizer.lr`, all else is said by the "
        "section `schedule` ([its keys](KEYS.md)). In the warm-up, `warmup_proportion` of the steps, the factor rises "
        "to 1; what follows is the schedule's `name`. The first step already learns, and so does the last one. Both "
        "are laid out for the steps of the training, or for `total_steps` where the job says them."
    )
    made = "Made from `bertjob/train/schedule.py` by `make regen`; do not edit."
    head = f"# Schedules\n\n{made}\n\n{textwrap.fill(words, 120)}\n"
    return "\n".join([head, *(_part(section) for section in shown)])


def _part(section: Section) -> str:
    keys = textwrap.indent(textwrap.dedent(section.keys), "    ")
    words = textwrap.fill(section.words, 120)
    return f"## {section.heading}\n\n{words}\n\n{keys}\n\n![{section.plot.title}](schedules/{section.name}.svg)\n"
