"""What an image holds, as a table."""

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from bertjob.launch.pmi import name, speaks
from bertjob.rundir.image_contents import NEEDED, OPTIONAL, ImageFacts


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
            yield package, facts.packages[package]
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
        yield "MPI", f"{name(facts.mpi)}, speaks {', '.join(speaks(facts.mpi)) or 'no PMI: srun cannot start it'}"
