"""Tables and texts made from values; nothing here prints."""

from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import Any

import yaml
from rich.table import Table
from rich.text import Text

from bertjob.cli.status_table import duration
from bertjob.config.job import Job
from bertjob.config.registry.optimizers import OPTIMIZERS
from bertjob.estimate.communication import Compression
from bertjob.estimate.estimate import Estimate
from bertjob.launch import pmi
from bertjob.rundir.image_contents import NEEDED, OPTIONAL, ImageFacts
from bertjob.rundir.messages import Answer

_LEAST_FOR_VALUES = 12
_GIB = 2**30


def names_table(described: Mapping[str, str]) -> Table:
    """Names with one line of description each."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, description in described.items():
        table.add_row(Text(name), Text(description))
    return table


def origins_table(rows: Sequence[tuple[str, Any, str]], width: int) -> Table:
    """Key, value and origin; what nobody said is dimmed.

    Args:
        rows: dotted key, value and origin.
        width: characters a line. Values are folded into what keys and origins leave; where that is too little,
            origins lose the folders of their files.
    """
    room = width - max(len(key) for key, _, _ in rows) - _LEAST_FOR_VALUES - 2
    whole = all(len(origin) <= room for _, _, origin in rows)
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("key", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("from", no_wrap=True, style="dim")
    for key, value, origin in rows:
        place = Text(origin if whole else origin.rpartition("/")[2])
        table.add_row(Text(key), Text(_flow(value)), place, style="dim" if origin == "default" else None)
    return table


def _flow(value: Any) -> str:
    """A value as it stands in a job file, on one line; nothing for one that says nothing."""
    if value is None or value in ({}, (), ""):
        return ""
    if isinstance(value, dict | tuple):
        return yaml.safe_dump(value, default_flow_style=True, width=inf, sort_keys=False, allow_unicode=True).strip()
    return str(value).lower() if isinstance(value, bool) else str(value)


def answer_text(answer: Answer) -> Text:
    """A question, and its paragraph with the answer highlighted; in green when it is one that the data set gives."""
    right = not answer.gold or answer.answer in answer.gold
    context = Text(answer.context)
    context.stylize("black on green" if right else "black on yellow", answer.start, answer.end)
    # Brackets too, for those who see no colours.
    marked = Text.assemble(context[: answer.start], "[", context[answer.start : answer.end], "]", context[answer.end :])
    gold = Text("" if right else f"  (given: {' | '.join(dict.fromkeys(answer.gold))})", style="dim")
    return Text.assemble(
        ("Q  ", "bold"), (answer.question, "bold"), "\n", marked, "\n", ("A  ", "bold"), answer.answer, gold
    )


def estimate_table(job: Job, found: Estimate, nodes: int) -> Table:
    """One line a figure."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    hours = None if found.seconds is None else found.seconds * nodes / 3600
    rows = {
        "steps": "not known: say train.max_steps" if found.steps is None else f"{found.steps}",
        "speed": f"{found.samples_per_second:.0f} samples/s, {found.seconds_per_step * 1000:.0f} ms a step",
        "time": "not known" if found.seconds is None else duration(found.seconds),
        "node-hours": "not known" if hours is None else f"{hours:.1f}",
        "communication": _communication(found),
        "memory": _memory(found),
    }
    if found.compression is not None:
        rows |= _compression(job, found.compression)
    for name, value in rows.items():
        table.add_row(name, value)
    table.add_row("micro batches", _micro_batches(job, found))
    return table


def _compression(job: Job, gain: Compression) -> dict[str, str]:
    """What a node sends, and whether that pays."""
    rounds, name = gain.rounds, job.optimizer.name
    silent = f", {rounds.silent:.0%} nothing" if rounds.silent > 0.005 else ""
    sent = (
        f"{gain.full_bytes / 1e6:.0f} MB a node in full precision ({rounds.full:.0%} of the steps), "
        f"{gain.compressed_bytes / 1e6:.0f} MB compressed ({rounds.compressed:.0%}){silent}: "
        f"{gain.volume:.1f} times less in all"
    )
    limit = f"below {gain.pays_below:.0f} Gbit/s a node"
    if gain.speed is None:
        return {"sent a step": sent, name: f"pays {limit}; the site says no fabric.gbits"}
    plain = OPTIMIZERS[name].label
    speed = f"{gain.speed:.2f} times as fast as {plain}, {gain.stage_speed:.2f} times in compressed steps"
    pays = f"pays: {speed}" if gain.speed > 1 else f"does not pay: {speed}; it would {limit}"
    return {"sent a step": sent, name: pays}


def _communication(found: Estimate) -> str:
    if found.communication is None or found.sending is None:
        return "not known: the site says no fabric.gbits"
    if found.sending == 0.0:
        return "none between nodes"
    takes = f"{found.sending / found.seconds_per_step:.1%} of a step ({found.sending * 1000:.0f} ms)"
    return f"{takes}, {found.communication:.1%} of a step waits for it"


def _memory(found: Estimate) -> str:
    memory = found.memory
    return (
        f"{memory.total / _GIB:.1f} of {found.gpu_memory / _GIB:.0f} GiB a GPU: {memory.state / _GIB:.1f} weights, "
        f"gradients and moments, {memory.activations / _GIB:.1f} activations"
    )


def _micro_batches(job: Job, found: Estimate) -> Text:
    fitting = ", ".join(map(str, found.micro_batches))
    own = job.train.micro_batch
    if found.fits:
        return Text(f"{own} fits; of those that divide the batch, these do: {fitting}")
    if fitting:
        return Text(f"{own} does not fit; these do: {fitting}", style="red")
    remedies = "model.activation_checkpointing, ZeRO of backend deepspeed, or a smaller model"
    return Text(f"{own} does not fit, and no other: try {remedies}", style="red")


def facts_table(facts: ImageFacts) -> Table:
    """One line a fact; what is missing in red, what some jobs would miss in yellow."""
    table = Table.grid(padding=(0, 2))
    for label, value in _lines(facts):
        table.add_row(label, Text(value))
    for line in facts.missing:
        table.add_row("missing", Text(line, style="red"))
    for line in facts.absent:
        table.add_row("absent", Text(f"{line} (some jobs need it)", style="yellow"))
    return table


def _lines(facts: ImageFacts) -> Iterator[tuple[str, str]]:
    yield "Python", facts.python
    for package in (*NEEDED, *OPTIONAL):
        if package in facts.packages:
            other = facts.outdated if package == "bertjob" else ""
            yield package, f"{facts.packages[package]}{f', and {other}' if other else ''}"
    built = (
        ("CUDA", facts.cuda),
        ("ROCm", facts.rocm),
        ("NCCL", facts.nccl),
        ("compiled for", " ".join(facts.architectures)),
    )
    yield from ((label, value) for label, value in built if value)
    if "torch" in facts.packages:
        for_cpus = facts.cuda is None and facts.rocm is None
        unseen = "none: torch is built for CPUs" if for_cpus else "none to be seen here"
        yield "GPUs", ", ".join(facts.gpus) or unseen
    if facts.mpi.family is None:
        yield "MPI", "none: ranks that call MPI_Init cannot be started"
    else:
        spoken = ", ".join(pmi.speaks(facts.mpi)) or "no PMI: srun cannot start it"
        yield "MPI", f"{pmi.name(facts.mpi)}, speaks {spoken}"
