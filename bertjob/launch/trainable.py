"""What would stop the training in its first minute on any machine, said before anything is queued."""

from collections.abc import Iterator

from bertjob.launch.resolve import shape
from bertjob.spec.deepspeed import cuts_tensors
from bertjob.spec.job import Job, Model
from bertjob.spec.lengths import complaint

_READ = {"squad": "data.train and data.dev", "smoke": "no data"}
"""The keys of the data that each task reads."""


def problems(job: Job) -> Iterator[str]:
    """What is wrong with a resolved job itself, one line each."""
    yield from _unread(job)
    if job.task == "smoke":
        return
    if job.data.train is None:
        yield "data.train is not said: a SQuAD v1.1 file, or demo"
    if job.model.init == "random":
        yield from _random(job.model)
    if wrong := complaint(job.train):
        yield wrong
    if job.backend == "deepspeed" and (wrong := cuts_tensors(job.deepspeed, job.optimizer.name)):
        yield wrong
    if job.optimizer.trust[0] > job.optimizer.trust[1]:
        yield f"optimizer.trust {list(job.optimizer.trust)}: the least trust ratio comes first"
    if job.precision == "fp16" and shape(job).gpus_per_node == 0:
        yield "precision fp16 needs GPUs, and resources.gpus_per_node is 0; on CPUs say bf16, fp32 or auto"


def _unread(job: Job) -> Iterator[str]:
    """Keys that are said and that nothing would read."""
    if job.data.shards is not None:
        yield f"data.shards: task {job.task} reads {_READ[job.task]}"
    if job.optimizer.freeze_step is not None:
        yield f"optimizer.freeze_step: {job.optimizer.name} has no frozen stage"


def _random(model: Model) -> Iterator[str]:
    if model.vocab is None:
        yield "model.init random needs model.vocab: a vocab.txt or tokenizer.json"
    hidden = model.hidden or 768
    if model.heads is None and hidden % 64:
        yield f"model.hidden {hidden} is no multiple of 64: say model.heads as well"
    if model.heads is not None and hidden % model.heads:
        yield f"model.hidden {hidden} is no multiple of model.heads {model.heads}"
