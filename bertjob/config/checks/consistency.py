"""What would stop the training in its first minute on any machine, said before anything is queued."""

from collections.abc import Iterator

from bertjob.config.checks import compression, kernel
from bertjob.config.checks.deepspeed_config import cuts_tensors
from bertjob.config.checks.lengths import complaint
from bertjob.config.job import Job, Model
from bertjob.config.registry.optimizers import OPTIMIZERS

_READ = {"squad": ("train", "dev"), "pretrain": ("shards",), "mlm": ("shards",), "smoke": ()}
"""The keys of the data that each task reads."""


def problems(job: Job) -> Iterator[str]:
    """What is wrong with a resolved job itself, one line each."""
    yield from _unread(job)
    if job.task == "smoke":
        return
    yield from _of_squad(job) if job.task == "squad" else _of_pretraining(job)
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


def _of_squad(job: Job) -> Iterator[str]:
    if job.data.train is None:
        yield "data.train is not said: a SQuAD v1.1 file, or demo"
    if wrong := complaint(job.train):
        yield wrong


def _of_pretraining(job: Job) -> Iterator[str]:
    if job.data.shards is None:
        yield "data.shards is not said: a folder that `bertjob data prepare` has made"
    if job.train.max_steps is None:
        yield f"train.max_steps is not said: task {job.task} counts steps, not epochs"
    if job.task == "pretrain" and job.model.kind == "roberta":
        yield "model.kind roberta has no segments, and so no next sentence: say task mlm"
    said = job.pretraining
    if said.mask_token + said.random_token > 1:
        yield f"pretraining.mask_token {said.mask_token} and random_token {said.random_token} are more than all"
    if job.train.batching == "pools":
        yield "train.batching pools sorts a whole training set, which pre-training has not: say packed or padded"


def _unread(job: Job) -> Iterator[str]:
    """Keys that are said and that nothing would read."""
    read = _READ[job.task]
    for key in ("train", "dev", "shards"):
        if getattr(job.data, key) is not None and key not in read:
            reads = " and ".join(f"data.{name}" for name in read) or "no data"
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
