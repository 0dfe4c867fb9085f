"""What the compressed optimizers have in common: stages, the freeze, the exchange, what a checkpoint holds.

A step is either full, by gradients that were averaged over the ranks as for any optimizer, or compressed: each rank has
its own gradients, and the optimizer exchanges what becomes of them. `local_gradients` says which the next step will be,
before its backward passes:

    for batch in batches:
        with ddp.no_sync() if optimizer.local_gradients else contextlib.nullcontext():
            loss(ddp(batch)).backward()
        optimizer.step()
        optimizer.zero_grad()

In fp16 the ranks' own gradients overflow on one rank and not on another: the scaler must be one that asks all of them,
torch.distributed.fsdp.sharded_grad_scaler.ShardedGradScaler.
"""

import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim.optimizer import Optimizer

from bertjob.train.optim.onebit import consensus, moments
from bertjob.train.optim.onebit.buffers import FIRST, SECOND, Buffers, FlatTensors
from bertjob.train.optim.onebit.consensus import Sketch
from bertjob.train.optim.onebit.exchange import Pipeline
from bertjob.train.optim.onebit.freeze import Freeze, FreezeStep
from bertjob.train.optim.onebit.routes import Alone, TorchTransport, Transport, by_node, direct
from bertjob.train.optim.onebit.routes_mpi import MpiTransport

if TYPE_CHECKING:  # it needs more than torch
    from bertjob.config import job

_LOG = logging.getLogger(__name__)
Params = Iterable[Tensor] | Iterable[dict[str, Any]]


class CompressedOptimizer(Optimizer, ABC):
    """An optimizer by two moments that begins, at some step, to exchange single bits.

    Attributes:
        plain: what it is where there is nothing to compress.
        steps: steps taken.
        updates: of these, those that updated the variance.
        bytes_sent: what this rank sent to others in the newest step: a compressed one counts as its messages, a full
            one as a ring all-reduce of the gradients.
    """

    plain: str
    _flat: FlatTensors
    _buffers: Buffers
    _sketch: Sketch

    def __init__(
        self,
        params: Params,
        defaults: dict[str, Any],
        *,
        freeze_step: FreezeStep,
        bias_correction: bool,
        bounded: bool,
        transport: Transport | None,
        hierarchical: bool,
        check_every: int | None,
    ) -> None:
        if freeze_step != "auto" and freeze_step < 1:
            raise ValueError(f"freeze_step {freeze_step}: the variance needs a step before it is frozen")
        if not (defaults["lr"] >= 0 and defaults["eps"] > 0 and all(0 <= beta < 1 for beta in defaults["betas"])):
            raise ValueError("lr {lr}, eps {eps} or betas {betas} is out of range".format(**defaults))
        super().__init__(params, defaults)
        self._settings: dict[str, Any] = {
            "optimizer": type(self).__name__,
            "freeze_step": freeze_step,
            "bias_correction": bias_correction,
            "bounded": bounded,
            "hierarchical": hierarchical,
            "check_every": check_every,
        }
        self._transport = transport or (TorchTransport() if dist.is_initialized() else Alone())
        self._routes = direct(self._transport)
        self._hierarchical = hierarchical
        self._check_every = check_every
        self._check_due = False
        self._bias_correction = bias_correction
        self._is_bounded = bounded
        self._freeze = Freeze(freeze_step, defaults["betas"][1])
        self._met = False
        self._pipeline: Pipeline | None = None
        self.steps = self.updates = self.bytes_sent = 0

    @property
    def ranks(self) -> int:
        """How many train together."""
        return self._transport.size

    @property
    def frozen_after(self) -> int | None:
        """The step after which the variance was frozen, or None; where nothing is compressed it never is."""
        return self._freeze.after

    @property
    def local_gradients(self) -> bool:
        """Whether the next step is compressed, and so wants each rank's own gradients instead of their mean."""
        return self._compresses and self.frozen_after is not None

    @property
    def _compresses(self) -> bool:
        """Whether single bits are exchanged with anybody: not by one rank, nor, where nodes exchange them, by one."""
        return self._routes.between.size > 1

    def norm_over_ranks(self, norm: Tensor) -> Tensor:
        """The norm by which to clip the gradients, the same on all ranks; called by all, before the step.

        A full step's gradients have the same norm everywhere, that of their mean. In a compressed step it is the
        mean's as well, to some percent (see Sketch): the frozen variance is one of gradients clipped by it, and ranks'
        own norms, up to the root of their number greater, would shrink the steps from the freeze on.

        Args:
            norm: this rank's own.
        """
        if not self.local_gradients:
            return norm
        own = self._sketch.sums(self._flat.gradients(range(len(self._flat.tensors))))
        found: Tensor = consensus.average(own, self._transport).norm().to(norm.dtype)
        return found

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add tensors to what is trained.

        Raises:
            ValueError: the training has begun; the buffers that are exchanged have no room for more.
        """
        if self.__dict__.get("_met"):
            raise ValueError("a 1-bit optimizer takes no more parameters once its first step is taken")
        super().add_param_group(param_group)

    @contextlib.contextmanager
    def common_weights(self) -> Iterator[None]:
        """Around what is done with the trained weights between steps: all ranks have the same; called by all."""
        yield

    @torch.no_grad()
    def meet(self) -> None:
        """Get ready, and see that all ranks have the same settings; called by all. The first step does it otherwise.

        Raises:
            WorldError: they have not, or `hierarchical` finds nodes with different numbers of ranks.
        """
        if self._met:
            return
        device = next(tensor.device for group in self.param_groups for tensor in group["params"])
        consensus.check_settings(self._settings | consensus.of_groups(self.param_groups), self._transport, device)
        self._routes = by_node(self._transport, device) if self._hierarchical else direct(self._transport)
        self._flat = FlatTensors(self.param_groups, self._routes.inside.size)
        self._sketch = Sketch([tensor.numel() for tensor in self._flat.tensors], device)
        self._buffers = Buffers(self._flat)
        self._buffers.add(FIRST, SECOND)
        self._buffers.show(self.state)
        self._met = True
        self._prepare()
        if not self._compresses:
            why = "one rank has" if self.ranks == 1 else "hierarchical compresses between nodes, and one node has"
            self._say(logging.INFO, f"{why} nothing to compress: {type(self).__name__} runs as {self.plain}")

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step by the gradients there are; called by all ranks.

        Raises:
            WorldError: the ranks have other settings, or other weights where that is checked.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.meet()
        compressed = self.local_gradients
        self.steps += 1
        if compressed:
            self._take_compressed_step()
        else:
            self.updates += 1
            self._take_full_step()
            self.bytes_sent = self._bytes_of_all_reduce()
        self._consider_freeze()
        self._check_weights()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """As of any optimizer, and how far it is: the same on all ranks; what is not, `own_state_dict` has."""
        return super().state_dict() | {"course": self._course()}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state, with no errors so far; called by all ranks, who then call `load_own_state_dict`."""
        self.meet()
        super().load_state_dict({"param_groups": state_dict["param_groups"], "state": {}})
        self._buffers.load(state_dict["state"])
        self._buffers.show(self.state)
        self._pipeline = None
        self._load_course(state_dict["course"])

    def own_state_dict(self) -> dict[str, Any]:
        """What this rank alone has not said yet. A training can go on without it, but not as if it had never ended."""
        return {
            "rank": self._transport.rank,
            "ranks": self.ranks,
            "errors": self._pipeline.errors if self._pipeline else [],
        }

    @torch.no_grad()
    def load_own_state_dict(self, state: Mapping[str, Any] | None) -> bool:
        """Take what `own_state_dict` gave, or None where there is nothing; called by all ranks after `load_state_dict`.

        Returns:
            False where it is another rank's, or of another number of ranks: errors begin at 0, and the log says so.
        """
        if self.steps == self.updates:  # nothing has been compressed yet
            return True
        here = (self._transport.rank, self.ranks)
        place = (state["rank"], state["ranks"]) if state else None
        self._pipeline = self._new_pipeline()
        own = self._pipeline.errors
        saved = state["errors"] if state else []
        if place == here and [error.shape for error in saved] == [error.shape for error in own]:
            torch._foreach_copy_(own, saved)
            return True
        was = f"the state is of rank {place[0]} of {place[1]}" if place else "the state has none"
        self._say(logging.WARNING, f"the errors of compression begin at 0: {was}, this is rank {here[0]} of {here[1]}")
        return False

    def gauges(self) -> dict[str, float]:
        """Whether the variance is frozen, and the bytes that this rank sent to others in the newest step."""
        return {"frozen": float(self.frozen_after is not None), "bytes_sent": float(self.bytes_sent)}

    def _prepare(self) -> None:
        """Make what else is as large as the tensors; they are known now."""

    @abstractmethod
    def _take_full_step(self) -> None:
        """Step `steps`, by averaged gradients, the variance's update `updates` included."""

    @abstractmethod
    def _take_compressed_step(self) -> None:
        """Step `steps`, by own gradients; sets `bytes_sent`."""

    def _take_in_mean(self) -> list[int]:
        """Let both moments take in the averaged gradients; the numbers of the tensors that have one."""
        gradients = dict(self._flat.gradients(range(len(self._flat.tensors))))
        for group, mine in self._by_group(gradients):
            own = [gradients[number] for number in mine]
            moments.update(self._part(FIRST, mine), self._part(SECOND, mine), own, group["betas"])
        return list(gradients)

    def _take_in_own(self, numbers: Sequence[int]) -> None:
        """Let the first moments of these tensors take in this rank's gradients; without one it is 0."""
        gradients = dict(self._flat.gradients(numbers))
        for group, mine in self._by_group(numbers):
            first = self._part(FIRST, mine)
            torch._foreach_mul_(first, group["betas"][0])
            with_one = [number for number in mine if number in gradients]
            if with_one:
                own = [gradients[number] for number in with_one]
                torch._foreach_add_(self._part(FIRST, with_one), own, alpha=1 - group["betas"][0])

    def _directions(self, group: Mapping[str, Any], numbers: Sequence[int]) -> list[Tensor]:
        """Where the moments of these tensors of one group point to, bias-corrected.

        One bit says of each value of a tensor that it is as large as their root mean square. Divided by the root of a
        small variance, as rarely used rows of an embedding have, that is thousands of times what Adam would do.
        """
        beta1, beta2 = group["betas"]
        corrections = (1 - beta1**self.steps, 1 - beta2**self.updates) if self._bias_correction else (1.0, 1.0)
        found = moments.directions(self._part(FIRST, numbers), self._part(SECOND, numbers), corrections, group["eps"])
        if self._is_bounded and self.steps > self.updates:  # something has been compressed
            moments.hold(found, moments.limit(group["betas"]))
        return found

    def _by_group(self, numbers: Iterable[int]) -> Iterator[tuple[dict[str, Any], list[int]]]:
        """These tensors' numbers, group by group, each with its settings."""
        return ((self.param_groups[index], mine) for index, mine in self._flat.by_group(numbers))

    def _part(self, name: str, numbers: Iterable[int]) -> list[Tensor]:
        """A buffer's values of these tensors."""
        return self._buffers.part(name, numbers)

    def _add_buffer(self, name: str) -> None:
        """One more, where it is not there yet."""
        self._buffers.add(name)
        self._buffers.show(self.state)

    def _average(self, prepare: Callable[[Sequence[int]], None], use: Callable[[Sequence[int]], None]) -> None:
        """Replace the first moments by their mean over the ranks; see Pipeline.average."""
        pipeline = self._pipeline = self._pipeline or self._new_pipeline()
        pipeline.average(prepare, use)
        self.bytes_sent = pipeline.bytes_sent

    def _new_pipeline(self) -> Pipeline:
        return Pipeline(self._buffers[FIRST], self._flat.buckets, self._routes, self._live())

    def _live(self) -> Tensor:
        """What ever had a gradient: of all else, one bit would say something that is not there."""
        return self._buffers[SECOND] > 0

    def _consider_freeze(self) -> None:
        if not self._compresses or self.frozen_after is not None:
            return
        if self._freeze.consider(self.steps, self.param_groups[0]["lr"], self._norm_of_variance):
            self._say(logging.INFO, f"the variance is frozen after step {self.steps}")
            if not self._freeze.settled:
                self._say(
                    logging.WARNING,
                    f"the variance had not settled when it was frozen after step {self.steps}: its norm still changed, "
                    "the learning rate rose, or it is the mean of few gradients; a later freeze_step, or auto, trains "
                    "stabler",
                )

    def _say(self, level: int, line: str) -> None:
        if self._transport.rank == 0:
            _LOG.log(level, "%s", line)

    def _norm_of_variance(self) -> float:
        """The sum of the bias-corrected variance, which is nowhere negative; the same on all ranks."""
        own = self._buffers[SECOND].sum(dtype=torch.float64)
        beta2 = self.param_groups[0]["betas"][1]
        return float(consensus.mean(own, self._transport).item() / (1 - beta2**self.updates))

    def _check_weights(self) -> None:
        self._check_due |= self._check_every is not None and self.steps % self._check_every == 0
        if self._check_due and self._agrees():
            self._check_due = False
            consensus.check_weights(self._flat.tensors, self._transport, self.steps)

    def _agrees(self) -> bool:
        """Whether ranks have the same weights after this step, as they have after each but in local steps."""
        return True

    def _bytes_of_all_reduce(self) -> int:
        size = sum(tensor.numel() * tensor.element_size() for tensor in self._flat.tensors)
        return 2 * (self.ranks - 1) * size // self.ranks

    def _course(self) -> dict[str, Any]:
        return {"steps": self.steps, "updates": self.updates, "freeze": self._freeze.state_dict()}

    def _load_course(self, state: Mapping[str, Any]) -> None:
        self.steps, self.updates = state["steps"], state["updates"]
        self._freeze.load_state_dict(state["freeze"])


def common_settings(settings: "job.Optimizer") -> dict[str, Any]:
    """Keyword arguments of any 1-bit optimizer, by the settings of a job.

    Raises:
        PreflightError: it would exchange over MPI, and there is no mpi4py.
    """
    assert settings.freeze_step is not None, "a job without it is refused before it starts"
    onebit = settings.onebit
    return {
        "lr": settings.lr,
        "betas": settings.betas,
        "eps": settings.eps,
        "freeze_step": settings.freeze_step,
        "transport": MpiTransport(cuda_aware=bool(onebit.cuda_aware)) if onebit.transport == "mpi" else None,
        "hierarchical": onebit.hierarchical,
        "check_every": onebit.check_every,
    }
