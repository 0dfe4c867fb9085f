"""What needs no second rank: the freeze of the variance, the schedules of 0/1 Adam, imports, bad settings."""

import copy
import itertools
import logging
import re
import subprocess
import sys
from importlib import metadata

import pytest
import torch
from packaging.requirements import Requirement
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from bertjob.config.checks.compression import freeze_problem
from bertjob.config.checks.variance import earliest_freeze
from bertjob.config.job import OneBit, Optimizer
from bertjob.config.registry.optimizers import one_bit_names
from bertjob.errors import PreflightError
from bertjob.train.optim import Lamb, OneBitAdam, OneBitLamb, ZeroOneAdam, parameter_groups
from bertjob.train.optim.factory import gauges, make_optimizer
from bertjob.train.optim.onebit import consensus
from bertjob.train.optim.onebit.consensus import WIDTH, Sketch
from bertjob.train.optim.onebit.freeze import Freeze
from bertjob.train.optim.onebit.moments import hold, limit
from bertjob.train.optim.onebit.zeroone import steps_between_exchanges, updates_variance

KINDS = [OneBitAdam, OneBitLamb, ZeroOneAdam]


def test_importing_them_needs_torch_alone():
    """Of all that is installed, Python finds torch and what its package requires; not even numpy."""
    needed = required("torch") | {"bertjob"}
    others = [name for name, owners in metadata.packages_distributions().items() if not needed & set(map(bare, owners))]
    assert {"msgspec", "yaml", "click", "numpy", "transformers", "deepspeed", "mpi4py"} <= set(others)
    code = f"""
import sys
sys.modules |= dict.fromkeys({others!r})
from bertjob.train.optim import Lamb, OneBitAdam, OneBitLamb, ZeroOneAdam
print(OneBitAdam.plain)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "Adam\n", done.stderr


def required(name: str) -> set[str]:
    """A package and all that it cannot be without here."""
    found, left = set(), [name]
    while left:
        if (package := bare(left.pop())) not in found:
            found.add(package)
            wanted = map(Requirement, metadata.requires(package) or ())
            left += [each.name for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    return found


def bare(name: str) -> str:
    """A package's name as it is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("kind", KINDS)
def test_one_rank_runs_as_the_plain_optimizer_and_says_so(kind, caplog):
    torch.manual_seed(3)
    layer = nn.Linear(6, 5)
    plain_layer = copy.deepcopy(layer)
    settings = {"lr": 0.01, "betas": (0.9, 0.99), "eps": 1e-6}
    optimizer = kind(parameter_groups(layer, 0.1), freeze_step=3, **settings)
    plain: torch.optim.Optimizer
    plain = (Lamb if kind is OneBitLamb else torch.optim.AdamW)(parameter_groups(plain_layer, 0.1), **settings)
    caplog.set_level(logging.INFO)
    for _ in range(8):
        inputs = torch.randn(4, 6)
        for model, own in ((layer, optimizer), (plain_layer, plain)):
            own.zero_grad()
            model(inputs).square().sum().backward()
            assert not getattr(own, "local_gradients", False)
            own.step()
    for ours, theirs in zip(layer.parameters(), plain_layer.parameters(), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-7)
    name = {OneBitAdam: "Adam", OneBitLamb: "LAMB", ZeroOneAdam: "Adam"}[kind]
    assert caplog.messages == [f"one rank has nothing to compress: {kind.__name__} runs as {name}"]
    assert (optimizer.bytes_sent, optimizer.frozen_after) == (0, None)


def test_tensors_without_a_gradient_stay_in_full_steps():
    used, unused = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    optimizer = OneBitAdam([used, unused], lr=0.1, weight_decay=0.1, freeze_step=5)
    used.grad = torch.ones(3)
    optimizer.step()
    assert used[0] < 1
    assert torch.equal(unused, torch.ones(3))


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.9, 0.99), (0.5, 0.9), (0.0, 0.5)])
def test_no_gradients_take_adam_further_than_the_limit(betas):
    """Those that come closest are the weights of the first moment over those of the second."""
    beta1, beta2 = betas
    first = second = 0.0
    for gradient in ((beta1 / beta2) ** age for age in range(2000, -1, -1)):
        first = beta1 * first + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * gradient**2
    assert first / second**0.5 == pytest.approx(limit(betas), rel=1e-9)
    draw = torch.randn(4000, 50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights = torch.logspace(49, 0, 50, base=beta1, dtype=torch.float64), torch.logspace(49, 0, 50, base=beta2)
    ratios = (draw @ weights[0]) * (1 - beta1) / ((draw**2 @ weights[1].double()) * (1 - beta2)).sqrt()
    assert ratios.abs().max() <= limit(betas)


def test_directions_are_held_where_there_is_a_limit():
    values = torch.tensor([-9.0, -1.0, 0.0, 8.0])
    hold([values], limit((0.9, 0.99)))
    assert values.tolist() == pytest.approx([-limit((0.9, 0.99)), -1.0, 0.0, limit((0.9, 0.99))])
    hold([values], limit((0.9, 0.5)))
    assert limit((0.9, 0.5)) == float("inf")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int8])
def test_digests_tell_single_bits_and_exchanged_values(dtype, monkeypatch):
    values = (torch.randn(5, 7, generator=torch.Generator().manual_seed(2)) * 9).to(dtype)
    whole = consensus.digest(values)
    monkeypatch.setattr(consensus, "_AT_ONCE", 4)
    assert torch.equal(consensus.digest(values), whole)
    assert torch.equal(consensus.digest(values.t().contiguous().t()), whole)
    for bit in (0, 6, 7):
        other = values.clone()
        other.view(torch.uint8)[3, -1] ^= 1 << bit
        assert not torch.equal(consensus.digest(other), whole)
    exchanged = values.clone()
    exchanged[[0, 4]] = values[[4, 0]]
    assert consensus.digest(exchanged)[0] == whole[0]
    assert consensus.digest(exchanged)[1] != whole[1]


class Largest(TorchDispatchMode):
    """Remembers how large the largest tensor is that a function makes beside `values`; their views are none."""

    def __init__(self, values):
        super().__init__()
        self.there, self.bytes = values.untyped_storage().data_ptr(), 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if made.untyped_storage().data_ptr() != self.there:
            self.bytes = max(self.bytes, made.nbytes)
        return made


def test_a_digest_takes_little_memory():
    values = torch.ones(5 << 20)
    with Largest(values) as largest:
        consensus.digest(values)
    assert 0 < largest.bytes <= 8 << 20


def looked_at(freeze: Freeze, steps: int, lr: float = 1.0, norm: float = 1.0) -> list[int]:
    """Steps after which the norm is asked for."""
    seen: list[int] = []
    for step in range(1, steps + 1):
        freeze.consider(step, lr, lambda step=step: seen.append(step) or norm)
        if freeze.after:
            break
    return seen


def test_a_planned_freeze_looks_twice_and_keeps_its_step():
    freeze = Freeze(400, 0.999)
    assert looked_at(freeze, 1000) == [200, 400]
    assert (freeze.after, freeze.settled) == (400, True)
    late = Freeze(23000, 0.999)
    assert looked_at(late, 23000) == [22000, 23000]


@pytest.mark.parametrize(("norms", "lrs", "settled"), [((1.0, 0.97), (1, 1), True), ((1.0, 0.9), (1, 1), False)])
def test_a_freeze_before_the_variance_has_settled_is_seen(norms, lrs, settled):
    freeze = Freeze(2, 0.95)
    for step in (1, 2):
        freeze.consider(step, lrs[step - 1], lambda step=step: norms[step - 1])
    assert (freeze.after, freeze.settled) == (2, settled)


@pytest.mark.parametrize(("step", "settled"), [(20, False), (99, False), (100, True)])
def test_the_mean_of_few_gradients_has_not_settled(step, settled):
    freeze = Freeze(step, 0.999)
    looked_at(freeze, step)
    assert (freeze.after, freeze.settled) == (step, settled)


def test_one_that_has_gone_on_alone_beyond_its_freeze_freezes_with_the_first_step_of_several():
    freeze = Freeze(400, 0.999)
    assert freeze.consider(501, 1.0, lambda: 1.0)
    assert (freeze.after, freeze.settled) == (501, True)


@pytest.mark.parametrize("beta2", [0.9, 0.97, 0.98, 0.99, 0.999])
def test_auto_freezes_no_earlier_than_the_login_node_thinks(beta2):
    freeze = Freeze("auto", beta2)
    looked_at(freeze, 2000)
    assert freeze.after == earliest_freeze(beta2)
    job = Optimizer(name="onebit-adam", betas=(0.9, beta2), freeze_step="auto")
    assert freeze_problem(job, freeze.after + 1) is None
    assert freeze_problem(job, freeze.after) == (
        f"optimizer.freeze_step auto: with beta2 {beta2} the variance cannot be seen to settle before step "
        f"{freeze.after}, and the training ends with step {freeze.after}, so it would never compress"
    )


@pytest.mark.parametrize("kind", ["noise", "constant", "alike rows", "few values"])
def test_sketches_of_ranks_tell_the_norm_of_their_mean(kind):
    draw = torch.Generator().manual_seed(1)
    sizes = [700 * WIDTH, 513 * WIDTH + 5, 768, 768, 1]
    made = {
        "noise": lambda size: torch.randn(size, generator=draw),
        "constant": torch.ones,
        "alike rows": lambda size: torch.randn(768, generator=draw).repeat(-(-size // 768))[:size],
        "few values": lambda size: (torch.rand(size, generator=draw) > 0.999).float(),
    }[kind]
    ranks = [[made(size) for size in sizes] for _ in range(3)]
    sketch = Sketch(sizes, torch.device("cpu"))
    mean = torch.stack([sketch.sums(enumerate(own)) for own in ranks]).mean(0)
    true = torch.cat([torch.stack(found).mean(0) for found in zip(*ranks, strict=True)]).norm()
    assert mean.norm().item() == pytest.approx(true.item(), rel=0.08)


def test_while_the_learning_rate_rises_nothing_has_settled():
    freeze = Freeze("auto", 0.9)
    for step in range(1, 40):
        if freeze.consider(step, min(step / 30, 1.0), lambda: 1.0):
            break
    assert freeze.after == 31


def test_auto_freezes_once_the_norm_is_that_of_a_window_before():
    freeze = Freeze("auto", 0.99)
    for step in range(1, 2000):
        if freeze.consider(step, 1.0, lambda step=step: 1 + 100 / step):
            break
    ratio = (1 + 100 / freeze.after) / (1 + 100 / (freeze.after - 100))
    assert ratio >= 0.96
    assert (1 + 100 / (freeze.after - 10)) / (1 + 100 / (freeze.after - 110)) < 0.96


def test_norms_that_are_no_numbers_never_settle():
    assert looked_at(Freeze("auto", 0.9), 30, norm=float("nan")) == list(range(1, 31))


def test_a_freeze_goes_on_from_its_state():
    freeze, again = Freeze("auto", 0.9), Freeze("auto", 0.9)
    for step in range(1, 8):
        freeze.consider(step, 1.0, lambda: 1.0)
    again.load_state_dict(copy.deepcopy(freeze.state_dict()))
    for step in range(8, 12):
        assert freeze.consider(step, 1.0, lambda: 1.0) == again.consider(step, 1.0, lambda: 1.0)
    assert again.after == 11


def test_the_variance_is_updated_ever_more_rarely():
    updates = [step for step in range(2000) if updates_variance(step, 16)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(updates)]
    assert gaps == [2 ** (number // 16) for number in range(len(gaps))]


def test_exchanges_become_rarer_up_to_the_clipper():
    found = [steps_between_exchanges(step, 100, 16) for step in range(0, 1000, 100)]
    assert found == [1, 2, 4, 8, 16, 16, 16, 16, 16, 16]
    assert steps_between_exchanges(10**9, 1, 12) == 12


@pytest.mark.parametrize(
    ("kind", "wrong", "line"),
    [
        (OneBitAdam, {"freeze_step": 0}, "the variance needs a step before it is frozen"),
        (OneBitAdam, {"lr": -1.0}, "out of range"),
        (OneBitAdam, {"betas": (0.9, 1.0)}, "out of range"),
        (OneBitLamb, {"trust": (0.5, 0.1)}, "bounds of the trust ratio"),
        (OneBitLamb, {"factor_min": 2.0}, "factor_min 2.0"),
        (ZeroOneAdam, {"local_step_clipper": 0}, "local_step_clipper 0"),
    ],
)
def test_settings_out_of_their_range_are_refused(kind, wrong, line):
    with pytest.raises(ValueError, match=line):
        kind([nn.Parameter(torch.ones(1))], **{"lr": 0.1, "freeze_step": 1, **wrong})


@pytest.mark.parametrize(("name", "kind"), list(zip(one_bit_names(), KINDS, strict=True)))
def test_the_job_chooses(name, kind):
    layer = nn.Linear(2, 2)
    optimizer = make_optimizer(layer, Optimizer(name=name, freeze_step="auto"))
    assert type(optimizer) is kind
    layer(torch.ones(2)).sum().backward()
    optimizer.step()
    told = gauges(optimizer)
    assert (told["frozen"], told["bytes_sent"]) == (0.0, 0.0)
    assert ("trust_mean" in told) == (kind is OneBitLamb)


@pytest.mark.parametrize("said", [OneBit(transport="mpi"), OneBit()])
def test_without_mpi4py_the_mpi_transport_is_refused_in_one_line(said, monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(PreflightError, match=r"^the MPI transport of a 1-bit optimizer needs mpi4py and .*torch$"):
        make_optimizer(nn.Linear(2, 2), Optimizer(name="onebit-adam", freeze_step=2, onebit=said), mpi=True)


def test_groups_may_be_empty_and_the_learning_rate_a_tensor_but_no_tensor_comes_late():
    tensor = nn.Parameter(torch.ones(3))
    optimizer = OneBitAdam([{"params": []}, {"params": [tensor]}], lr=torch.tensor(0.1), freeze_step=2)
    tensor.grad = torch.ones(3)
    optimizer.step()
    assert tensor.tolist() == pytest.approx([0.9] * 3)
    with pytest.raises(ValueError, match="takes no more parameters once its first step is taken"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))]})
