"""Pre-training as a task: masked tokens, with next sentences (`pretrain`) or without (`mlm`)."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bertjob.config.job import Job
from bertjob.errors import SpecError
from bertjob.rundir.held_run import HeldRun
from bertjob.train.data.batch import Batch, Int64, hands_of
from bertjob.train.data.tokenizer import BertTokenizer, load_tokenizer
from bertjob.train.distributed.ranks import Ranks
from bertjob.train.model.heads import losses
from bertjob.train.model.initialize import build
from bertjob.train.model.locate import bring, tokenizer_folder
from bertjob.train.tasks.pretraining.evaluate import evaluate
from bertjob.train.tasks.pretraining.masking import Masking, Vocabulary, mask, packed, padded
from bertjob.train.tasks.pretraining.samples import SampleSource
from bertjob.train.tasks.pretraining.source import open_sources

Key = tuple[int, int, int]
"""Step, rank and world size."""


class Ahead:
    """Makes the batches of a step, and those of the next one on a thread of its own."""

    def __init__(self, make: Callable[[int, int, int], Sequence[Batch]], steps: int) -> None:
        """By `make` of step, rank and world size, a pure function; there are `steps` steps."""
        self._make = make
        self._steps = steps
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._coming: tuple[Key, Future[Sequence[Batch]]] | None = None

    def take(self, step: int, rank: int, world_size: int) -> Sequence[Batch]:
        """The batches of a step."""
        key = step, rank, world_size
        ready = self._coming[1].result() if self._coming and self._coming[0] == key else self._make(*key)
        if step + 1 < self._steps:
            following = step + 1, rank, world_size
            self._coming = following, self._worker.submit(self._make, *following)
        return ready


@dataclass(frozen=True)
class Maker:
    """Makes micro batches of the samples of a source.

    Attributes:
        job: what to train.
        source: of the samples.
        vocabulary: what masking must know.
        seed: of the masks.
    """

    job: Job
    source: SampleSource
    vocabulary: Vocabulary
    seed: int

    def batch(self, positions: Int64) -> Batch:
        """The samples at these positions of the source, masked."""
        train, said = self.job.train, self.job.pretraining
        samples = self.source.samples(positions)
        if self.job.task == "mlm":  # which asks nothing of pairs that others have made
            samples = replace(samples, random_next=np.full(len(samples), -1))
        masking = Masking(
            said.masked, said.mask_token, said.random_token, said.whole_words, said.max_predictions_per_seq
        )
        masked = mask(samples, positions, self.seed, masking, self.vocabulary)
        return padded(samples, masked, train.max_seq_length) if train.batching == "padded" else packed(samples, masked)

    def of_step(self, step: int, rank: int, world_size: int) -> list[Batch]:
        """The micro batches that `rank` takes in step `step`, dealt so that all have about as many tokens."""
        train = self.job.train
        positions = range(step * train.global_batch, (step + 1) * train.global_batch)
        wanted = np.arange(rank, train.global_batch // train.micro_batch, world_size)
        return [self.batch(hand) for hand in hands_of(positions, train.micro_batch, wanted, self.source.lengths)]


@dataclass(frozen=True)
class PretrainTask:
    """The tasks `pretrain` and `mlm`; see bertjob.train.tasks.Task.

    Attributes:
        job: what to train.
        held: the run directory, where eval.json goes.
        ranks: all ranks.
        device: where the model is.
        model: with its first weights.
        tokenizer: the model's.
        total_steps: optimizer steps of the whole training.
        batches: of the training samples.
        validation: of samples from other documents.
    """

    job: Job
    held: HeldRun
    ranks: Ranks
    device: torch.device
    model: nn.Module
    tokenizer: BertTokenizer
    total_steps: int
    batches: Ahead
    validation: Maker

    @classmethod
    def from_job(cls, job: Job, held: HeldRun, ranks: Ranks, device: torch.device) -> "PretrainTask":
        """Open the shards, build the model; called by all ranks at the same time.

        Raises:
            SpecError: the job says no shards or no number of steps.
            DataError: the data, the tokenizer or the model cannot be read, or they do not fit together.
        """
        if job.train.max_steps is None:
            raise SpecError(f"train.max_steps is not said: task {job.task} counts steps, not epochs")
        ranks.from_first(lambda: bring(job), None)  # so that the hub is asked by one rank and not by all at once
        tokenizer = load_tokenizer(tokenizer_folder(job))
        train, validation = open_sources(job, tokenizer)
        vocabulary = Vocabulary.of(tokenizer.tokenizer.get_vocab(), tokenizer.marks, byte_level=tokenizer.byte_level)
        return cls(
            job,
            held,
            ranks,
            device,
            build(job, "masked" if job.task == "mlm" else "masked and next"),
            tokenizer,
            job.train.max_steps,
            Ahead(Maker(job, train, vocabulary, job.seed).of_step, job.train.max_steps),
            Maker(job, validation, vocabulary, job.seed),
        )

    def micro_batches(self, step: int, rank: int, world_size: int) -> Sequence[Batch]:
        """The micro batches that `rank` takes in step `step` (from 0)."""
        return self.batches.take(step, rank, world_size)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The sum of the losses of one micro batch: a scalar, float32."""
        return torch.stack(list(losses(model, batch).values())).sum()

    def evaluate(self, model: nn.Module, *, final: bool = True) -> Mapping[str, float]:
        """Evaluate on the validation samples; the metrics on rank 0, which at the end writes eval.json; else nothing.

        Raises:
            DataError: the file cannot be written.
            LeaseError: another start has taken the run directory over.
        """
        evaluation = self.job.evaluation
        positions = np.arange(self.job.pretraining.validation_samples)
        held = self.held if final else None
        return evaluate(model, self.validation.batch, positions, evaluation.micro_batch, self.device, self.ranks, held)

    def save_tokenizer(self, folder: str) -> None:
        """Write the tokenizer's files beside a saved model."""
        self.tokenizer.save(Path(folder))
