"""The tasks, one row each: all that the login side and the ranks know of a task, apart from its own code."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import msgspec

from bertjob.config.checks.tasks import masked_tokens, next_sentences, question_answering
from bertjob.config.job import Job, Pretraining, Section, Task


class Metric(msgspec.Struct, frozen=True):
    """A number that the final evaluation yields, and how it is shown.

    Attributes:
        name: its key in the task's metrics, and so in eval.json and state.json; one name means one thing in all tasks.
        label: one short word for the table of `status`.
        words: what `run` calls it.
        digits: after the point in `status`; `run` shows one more.
    """

    name: str
    label: str
    words: str
    digits: int


class Input(msgspec.Struct, frozen=True):
    """A file or folder that a task reads.

    Attributes:
        remedy: what to do where it is missing.
        check: "module:function" that takes its path and raises DataError where the task could not read it: in
            seconds, without torch.
    """

    remedy: str
    check: str


class TaskRow(msgspec.Struct, frozen=True, kw_only=True):
    """One task.

    Attributes:
        code: "module:Class" of its `bertjob.train.tasks.Task`; of a task that takes no steps, "module:NAME" of its
            `bertjob.train.context.Work`.
        section: the section of the job that only this task reads, and those that share it; None: there is none.
        fine_tunes: whether it goes on from a pretrained model, rather than making one.
        data: the keys of `data` that it reads.
        evaluated_on: the key of `data` that it is evaluated on at the end, where the job says it; None: never.
        metrics: those that `status` and `run` show, in this order.
        examples: "module:function" that prints some results of a finished run, given its RunDir, for `run`; None: it
            shows none.
        summary: what its ranks do, in a few words, by job, accumulation and world size; for `submit` and `doctor`.
        samples: "module:function" that counts what a resolved job trains on, and says where the count is from, as
            `bertjob.estimate.job_files.samples_of` returns it; None: it takes no steps.
        packages: Python packages that it needs.
        problems: what is wrong with a resolved job of this task, one line each.
    """

    code: str
    section: type[Section] | None
    fine_tunes: bool
    data: Mapping[str, Input]
    evaluated_on: str | None
    metrics: tuple[Metric, ...]
    examples: str | None
    summary: Callable[[Job, int, int], str]
    samples: str | None
    packages: tuple[str, ...]
    problems: Callable[[Job], Iterable[str]]

    @property
    def trains(self) -> bool:
        """Whether it takes optimizer steps, in the loop that all trainings share."""
        return self.samples is not None


def batch(job: Job, accumulation: int, world_size: int) -> str:
    """How the ranks share a batch: global = micro x accumulation x world."""
    return f"batch {job.train.global_batch} = {job.train.micro_batch} x {accumulation} x {world_size}"


TORCH: Final = ("torch", "numpy")
"""What every rank imports."""
MODELS: Final = (*TORCH, "transformers", "tokenizers")
"""What trains a model, or asks one."""
_QUESTIONS = Input("`bertjob data fetch squad` brings SQuAD", "bertjob.formats.squad:read_squad")
_CORPUS = Input("`bertjob data prepare` makes it", "bertjob.formats.corpus_manifest:check_corpus")
_MASKED = (
    Metric("mlm_loss", "MLM", "masked-token loss", 2),
    Metric("mlm_accuracy", "acc", "masked-token accuracy", 1),
)

TASKS: Final[Mapping[Task, TaskRow]] = {
    "squad": TaskRow(
        code="bertjob.train.tasks.squad.task:SquadTask",
        section=None,
        fine_tunes=True,
        data={"train": _QUESTIONS, "dev": _QUESTIONS},
        evaluated_on="dev",
        metrics=(Metric("exact_match", "EM", "exact match", 1), Metric("f1", "F1", "F1", 1)),
        examples="bertjob.cli.verbs.ask:print_first",
        summary=batch,
        samples="bertjob.estimate.job_files:squad",
        packages=MODELS,
        problems=question_answering,
    ),
    "pretrain": TaskRow(
        code="bertjob.train.tasks.pretraining.task:PretrainTask",
        section=Pretraining,
        fine_tunes=False,
        data={"shards": _CORPUS},
        evaluated_on="shards",
        metrics=(*_MASKED, Metric("nsp_accuracy", "NSP", "next-sentence accuracy", 1)),
        examples=None,
        summary=batch,
        samples="bertjob.estimate.job_files:pairs",
        packages=MODELS,
        problems=next_sentences,
    ),
    "mlm": TaskRow(
        code="bertjob.train.tasks.pretraining.task:PretrainTask",
        section=Pretraining,
        fine_tunes=False,
        data={"shards": _CORPUS},
        evaluated_on="shards",
        metrics=_MASKED,
        examples=None,
        summary=batch,
        samples="bertjob.estimate.job_files:full_sentences",
        packages=MODELS,
        problems=masked_tokens,
    ),
    "smoke": TaskRow(
        code="bertjob.train.tasks.smoke:PROOF",
        section=None,
        fine_tunes=False,
        data={},
        evaluated_on=None,
        metrics=(),
        examples=None,
        summary=lambda job, accumulation, world_size: "no training",
        samples=None,
        packages=TORCH,
        problems=lambda job: (),
    ),
}
"""All tasks, by the name that a job gives; config/job.py lists the names for its JSON Schema."""
_OF_TRAINING = ("model", "train", "evaluation", "optimizer", "schedule")
"""Sections of a job that only a training reads."""


def evaluates(job: Job) -> bool:
    """Whether a job says what its model is evaluated on at the end."""
    key = TASKS[job.task].evaluated_on
    return key is not None and getattr(job.data, key) is not None


def metric(name: str) -> Metric:
    """How to show a metric; one that no task lists, as of a newer bertjob, goes by its own name."""
    listed = (known for row in TASKS.values() for known in row.metrics if known.name == name)
    return next(listed, Metric(name, name, name, 2))


def unread_sections(job: Job) -> Iterator[str]:
    """Sections of a job that its task does not read: those of other tasks, and those of a training if it is none."""
    own = TASKS[job.task]
    of_others = {row.section for row in TASKS.values()} - {own.section}
    for name in Job.__struct_fields__:
        if type(getattr(job, name)) in of_others or (name in _OF_TRAINING and not own.trains):
            yield name
