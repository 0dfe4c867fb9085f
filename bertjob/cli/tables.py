"""An estimate as a table for people."""

from rich.table import Table
from rich.text import Text

from bertjob.cli.status_table import duration
from bertjob.config.job import Job
from bertjob.estimate.communication import Compression
from bertjob.estimate.estimate import Estimate

_GIB = 2**30


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
    plain = "LAMB" if "lamb" in name else "Adam"
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
