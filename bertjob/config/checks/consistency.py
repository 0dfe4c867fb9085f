"""What would stop the training in its first minute on any machine, said before anything is queued."""

from collections.abc import Iterator

from bertjob.config.checks import compression, kernel
from bertjob.config.checks.deepspeed_config import cuts_tensors
from bertjob.config.job import Job, Model
from bertjob.config.registry.optimizers import OPTIMIZERS
from bertjob.config.registry.tasks import TASKS


def problems(job: Job) -> Iterator[str]:
    """What is wrong with a job itself, one line each; what its task alone requires is in the task's row.

    Args:
        job: resolved, so that it says what the site's defaults would.
    """
    yield from _unread(job)
    yield from TASKS[job.task].problems(job)
    if not TASKS[job.task].trains:
        return
    if job.model.ckpt_type is not None and job.model.init in ("random", "demo"):
        yield f"model.ckpt_type: init {job.model.init} is no checkpoint"
    if job.model.init == "random":
        yield from _random(job.model, has_vocabulary=job.data.shards is not None)
    if job.backend == "deepspeed" and (wrong := cuts_tensors(job.deepspeed, job.optimizer.name)):
        yield wrong
    if OPTIMIZERS[job.optimizer.name].one_bit is not None:
        yield from compression.problems(job)
    if job.optimizer.trust[0] > job.optimizer.trust[1]:
        yield f"optimizer.trust {list(job.optimizer.trust)}: the least trust ratio comes first"
    yield from kernel.problems(job)
    if job.resources.gpus_per_node == 0:
        yield from _without_gpus(job)


def _without_gpus(job: Job) -> Iterator[str]:
    if job.model.kernel.enabled:
        yield "model.kernel needs GPUs with CUDA, and resources.gpus_per_node is 0; on CPUs leave it out"
    optimizer = OPTIMIZERS[job.optimizer.name]
    if optimizer.needs_gpu:
        instead = f"; on CPUs say {optimizer.cpu_equivalent}" if optimizer.cpu_equivalent else ""
        yield f"optimizer.name {job.optimizer.name} needs GPUs, and resources.gpus_per_node is 0{instead}"
    if job.precision == "fp16":
        yield "precision fp16 needs GPUs, and resources.gpus_per_node is 0; on CPUs say bf16, fp32 or auto"


def _unread(job: Job) -> Iterator[str]:
    """Keys that are said and that nothing would read."""
    read = TASKS[job.task].data
    reads = " and ".join(f"data.{key}" for key in read) or "no data"
    for key in dict.fromkeys(key for row in TASKS.values() for key in row.data):
        if key not in read and getattr(job.data, key) is not None:
            yield f"data.{key}: task {job.task} reads {reads}"
    yield from compression.unread(job.optimizer)


def _random(model: Model, *, has_vocabulary: bool) -> Iterator[str]:
    if model.vocab is None and not has_vocabulary:
        yield "model.init random needs model.vocab: a vocab.txt or tokenizer.json"
    hidden = model.hidden or 768
    if model.heads is None and hidden % 64:
        yield f"model.hidden {hidden} is no multiple of 64: say model.heads as well"
    if model.heads is not None and hidden % model.heads:
        yield f"model.hidden {hidden} is no multiple of model.heads {model.heads}"
