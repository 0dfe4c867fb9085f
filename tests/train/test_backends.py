"""Both back ends take the same steps, and go on from their checkpoints to the bit, on 1, 2 and 4 ranks over gloo."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import torch
from backend_ranks import CPU, GPU_WAYS, HALF, LR, MICRO_BATCHES, WAYS, job, train

from bertjob.config.checks.deepspeed_config import REMOVED, SECTIONS
from bertjob.config.job import Optimizer
from bertjob.errors import CheckpointError, DataError, SpecError
from bertjob.rundir.world import World
from bertjob.train.backends.deepspeed import DeepSpeedBackend, deepspeed_config
from bertjob.train.backends.torch import STATE, TorchBackend
from bertjob.train.model.formats.pytorch_file import unpickle
from bertjob.train.model.initialize import build_question_answering

RANKS = Path(__file__).with_name("backend_ranks.py")
ONEBIT = [way for way in WAYS if way.endswith(("onebit", "zeroone"))]
FP32 = [way for way in WAYS if "bf16" not in way]
ON = {1: [way for way in WAYS if way not in ONEBIT], 2: FP32, 4: ["torch", "zero2"]}
EACH = [(way, size) for size, ways in ON.items() for way in ways]
pytestmark = pytest.mark.slow
ALONE = World(0, 1, 0, 1, "test")
NO_PICKLES = [b"a,b\n", b"", b"(lp0\n", b"\x80\x02.", b"\x80\x02K\x01.", b"PK\x03\x04", b"cos\nsystem\n."]


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """Where the ranks work, with a vocabulary."""
    folder = tmp_path_factory.mktemp("backends")
    (folder / "vocab.txt").write_text("".join(f"token{number}\n" for number in range(100)))
    return folder


@pytest.fixture(scope="session")
def results(folder: Path) -> dict[int, dict]:
    """What came out, by world size; two ranks go first, for one rank tries their checkpoints."""
    more = {1: ["zero1:zero1-2", "zero2:zero1-1", "torch:torch-2", "zero0:zero0-2", "zero1:torch-1", "small-disk"]}
    more[1] += [f"{way}:{way}-2" for way in ONEBIT]
    more |= {2: ["overflow", "overflow:torch-onebit", "overflow:client-onebit", "small-disk", "full-disk"], 4: []}
    return {size: run_ranks(folder, size, ON[size] + more[size]) for size in (2, 1, 4)}


def run_ranks(folder: Path, size: int, tasks: list[str]) -> dict:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    logs = [folder / f"log-{size}-{rank}" for rank in range(size)]
    ranks = [
        subprocess.Popen(
            [sys.executable, RANKS, folder, str(rank), str(size), *tasks],
            env=environment,
            stdout=log.open("w"),
            stderr=subprocess.STDOUT,
        )
        for rank, log in enumerate(logs)
    ]
    try:
        codes = [rank.wait(timeout=300) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert codes == [0] * size, "\n".join(log.read_text() for log in logs)
    return json.loads((folder / f"results-{size}.json").read_bytes())


@pytest.mark.parametrize(("way", "size"), [pair for pair in EACH if "bf16" not in pair[0] and pair[0] not in ONEBIT])
def test_losses_norms_and_weights_are_those_of_torch_on_one_rank(results, way, size):
    ours, reference = results[size][way], results[1]["torch"]
    for (loss, norm), (reference_loss, reference_norm) in zip(ours["straight"], reference["straight"], strict=True):
        assert loss == pytest.approx(reference_loss, rel=1e-5)
        assert norm == pytest.approx(reference_norm, rel=1e-5)
    assert ours["names"] == reference["names"]
    assert ours["off"] < 1e-6


def test_the_training_of_the_comparison_learns(results):
    losses = [loss for loss, _ in results[1]["torch"]["straight"]]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(("way", "size"), EACH)
def test_a_resumed_training_is_the_uninterrupted_one_to_the_bit(results, way, size):
    ours = results[size][way]
    assert ours["resumed"] == ours["straight"][HALF:]
    assert ours["resumed_weights"] == ours["weights"]


def test_bf16_is_the_same_on_both_back_ends_and_close_to_float32(results):
    ours, torch_s, full = (results[1][way]["straight"] for way in ("zero1-bf16", "torch-bf16", "torch"))
    assert [loss for loss, _ in ours] == pytest.approx([loss for loss, _ in torch_s], rel=1e-3)
    assert [loss for loss, _ in ours] == pytest.approx([loss for loss, _ in full], rel=1e-2)
    assert [loss for loss, _ in ours] != [loss for loss, _ in full]


def test_deepspeed_s_own_bf16_is_honoured(results):
    own, full = (results[1][way]["straight"] for way in ("zero1-own-bf16", "torch"))
    assert [loss for loss, _ in own] == pytest.approx([loss for loss, _ in full], rel=2e-2)
    assert [loss for loss, _ in own] != [loss for loss, _ in results[1]["zero1-bf16"]["straight"]]


def test_a_step_that_overflows_changes_nothing_on_any_rank(results):
    run = results[2]["overflow"]
    _, outcome = run["spoilt"]
    assert outcome == {"grad_norm": None, "skipped": True, "loss_scale": 2.0**9}
    assert run["after"] == run["before"]
    # Scaled by powers of two, the steps around it are those without a scaler.
    straight = results[2]["torch"]["straight"]
    assert [run["first"][0], run["again"][0]] == [straight[0][0], straight[1][0]]
    assert run["first"][1] == {"grad_norm": straight[0][1], "skipped": False, "loss_scale": 2.0**10}


@pytest.mark.parametrize("kind", ["onebit", "zeroone"])
def test_1_bit_optimizers_take_the_same_steps_with_both_back_ends(results, kind):
    """Until the freeze 1-bit Adam's are those of Adam."""
    torch_s, client_s = (results[2][f"{name}-{kind}"]["straight"] for name in ("torch", "client"))
    for ours, theirs in zip(torch_s, client_s, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    plain = results[2]["torch"]["straight"]
    assert [loss for loss, _ in torch_s[:2]] == pytest.approx([loss for loss, _ in plain[:2]], rel=1e-5)
    assert torch_s[-1][0] < 0.9 * torch_s[0][0]


@pytest.mark.parametrize("way", ["torch-onebit", "client-onebit"])
def test_a_compressed_step_that_overflows_on_one_rank_changes_nothing_on_any(results, way):
    outcome = {"grad_norm": None, "skipped": True, "loss_scale": 2.0**9}
    assert results[2][f"overflow:{way}"]["words"] == [[True, outcome, False]] * 2


@pytest.mark.parametrize("task", ["torch:torch-2", "zero0:zero0-2", *(f"{way}:{way}-2" for way in ONEBIT)])
def test_whole_states_are_read_by_any_number_of_ranks(results, task):
    assert results[1][task] is None


@pytest.mark.parametrize(
    ("task", "line"),
    [
        ("zero1:zero1-2", "was written by 2 ranks, here are 1: under ZeRO each rank's part"),
        ("zero2:zero1-1", "was written with ZeRO stage 1, this job has stage 2"),
        ("zero1:torch-1", "no checkpoint of the DeepSpeed back end"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_in_one_line(results, task, line):
    assert line in results[1][task]
    assert "\n" not in results[1][task]


def test_a_file_that_cannot_be_written_is_named_on_its_rank_and_no_rank_hangs(results):
    alone, pair = results[1]["small-disk"], results[2]["small-disk"]
    assert f"{STATE} cannot be written" in alone["torch"][0]
    assert "model_states.pt cannot be written" in alone["zero1"][0]
    assert pair["zero1"][0] == ""
    assert "optim_states.pt cannot be written" in pair["zero1"][1]


def test_back_ends_say_nothing_but_what_1_bit_optimizers_have_to_say(results, folder):
    """All of them freeze after two steps; one rank reads what two have written."""
    said = [line for log in folder.glob("log-*") for line in log.read_text().splitlines()]
    lost = "the errors of compression begin at 0: the state is of rank 0 of 2, this is rank 0 of 1"
    early = "the variance had not settled when it was frozen after step 2: "
    assert said.count(lost) == len(ONEBIT)
    assert all(line == lost or line.startswith(early) for line in said)


def test_a_torn_checkpoint_of_torch_is_refused(folder, tmp_path):
    described = job("torch", folder)
    backend = TorchBackend(build_question_answering(described), described, ALONE, CPU, MICRO_BATCHES)
    train(backend, ALONE, range(1))
    with pytest.raises(CheckpointError, match="does not fit"):
        backend.load(tmp_path)
    backend.save(tmp_path)
    whole = (tmp_path / STATE).read_bytes()
    (tmp_path / STATE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=rf"{STATE} does not fit"):
        backend.load(tmp_path)


@pytest.mark.parametrize("content", NO_PICKLES)
def test_what_is_no_file_of_torch_is_refused_in_one_line_wherever_one_is_read(folder, tmp_path, content):
    """Somebody may have signed it anew: MANIFEST.json protects from damage alone."""
    described = job("torch", folder)
    backend = TorchBackend(build_question_answering(described), described, ALONE, CPU, MICRO_BATCHES)
    (tmp_path / STATE).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{STATE} does not fit: [^\n]+$"):
        backend.load(tmp_path)
    with pytest.raises(DataError, match=rf"{STATE}: its weights cannot be loaded \([^\n]+\)$"):
        unpickle(tmp_path / STATE)


class Code:
    """Unpickled, it makes a file."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self):
        return os.system, (f"touch {self.made}",)


@pytest.mark.parametrize("way", ["zero0", "zero2"])
def test_code_in_a_checkpoint_of_deepspeed_does_not_run(folder, tmp_path, way):
    described = job(way, folder)
    backend = DeepSpeedBackend(build_question_answering(described), described, ALONE, CPU, MICRO_BATCHES)
    train(backend, ALONE, range(1))
    backend.save(tmp_path)
    files = sorted(tmp_path.rglob("*_states.pt"))
    assert len(files) == (1 if way == "zero0" else 2)
    for file in files:
        whole = file.read_bytes()
        torch.save({**torch.load(file, weights_only=False), "more": Code(tmp_path / "ran")}, file)
        with pytest.raises(CheckpointError, match="cannot be read"):
            backend.load(tmp_path)
        file.write_bytes(whole)
    assert not (tmp_path / "ran").exists()
    backend.load(tmp_path)


def test_a_training_goes_on_in_fp16_that_began_in_another_precision(folder, tmp_path):
    """As `precision: auto` may have it on another GPU: the loss scale begins anew."""
    described = job("torch", folder)
    backend = TorchBackend(build_question_answering(described), described, ALONE, CPU, MICRO_BATCHES)
    train(backend, ALONE, range(1))
    backend.save(tmp_path)
    backend.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**9)
    backend.load(tmp_path)
    assert backend.scaler.get_scale() == 2.0**9


def test_the_loss_is_divided_by_the_accumulation_once(folder):
    """The gradient of a step is the mean of its micro batches' gradients."""
    described = msgspec.structs.replace(job("torch", folder), optimizer=Optimizer(lr=LR, max_grad_norm=None))
    model = build_question_answering(described).eval()
    backend = TorchBackend(model, described, ALONE, CPU, 2)
    for factor, last in ((1.0, False), (3.0, True)):
        backend.backward(factor * model.qa_outputs.bias.sum(), last=last)
    assert torch.equal(model.qa_outputs.bias.grad, torch.tensor([2.0, 2.0]))


def test_a_full_disk_is_said_before_deepspeed_writes(results):
    line, left_behind = results[2]["full-disk"]
    assert "0 MB free, it may take 1 MB" in line
    assert not left_behind


def test_deepspeed_s_config_is_the_section_and_what_the_job_says(folder):
    config = deepspeed_config(job("zero2", folder), 4, 2, CPU)
    assert config == {
        "zero_optimization": {"stage": 2},
        "zero_force_ds_cpu_optimizer": False,
        "train_micro_batch_size_per_gpu": 2,
        "gradient_accumulation_steps": 4,
        "train_batch_size": 16,
        "gradient_clipping": 0.5,
    }


def test_no_clipping_is_said_to_deepspeed_too(folder):
    """Left out, DeepSpeed clips to 1."""
    described = msgspec.structs.replace(job("zero0", folder), optimizer=Optimizer(max_grad_norm=None))
    assert deepspeed_config(described, 1, 1, CPU)["gradient_clipping"] == 0.0


def test_fp16_is_deepspeed_s_own_with_zero(folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (7, 0))
    described = msgspec.structs.replace(job("zero1", folder), precision="auto", deepspeed={"fp16": {"hysteresis": 1}})
    config = deepspeed_config(described, 1, 1, torch.device("cuda", 0))
    assert config["fp16"] == {"hysteresis": 1, "enabled": True}
    assert config["zero_optimization"] == {"stage": 1}
    stage_0 = msgspec.structs.replace(described, deepspeed={"zero_optimization": {"stage": 0}})
    with pytest.raises(SpecError, match="stage is 0, but fp16 needs 1, 2 or 3"):
        deepspeed_config(stage_0, 1, 1, torch.device("cuda", 0))


def test_deepspeed_s_fp16_on_a_cpu_is_refused(folder):
    described = msgspec.structs.replace(job("zero1", folder), precision="auto", deepspeed={"fp16": {"enabled": True}})
    with pytest.raises(SpecError, match=r"deepspeed\.fp16 needs a GPU"):
        deepspeed_config(described, 1, 1, CPU)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_takes_the_same_steps_in_every_precision(results, folder):
    """Within the rounding of half precision; fp16 may skip its first steps while it looks for its loss scale."""
    reference = [loss for loss, _ in results[1]["torch"]["straight"]]
    found = run_ranks(folder, 1, list(GPU_WAYS))
    for way, run in found.items():
        losses = [loss for loss, _ in run["straight"]]
        if way.endswith("fp16"):
            assert losses[-1] < 0.9 * losses[0], way
        else:
            # Dropout on a GPU draws other numbers than on a CPU.
            assert losses[0] == pytest.approx(reference[0], rel=0.1), way
            assert losses[-1] == pytest.approx(reference[-1], rel=0.1), way
        assert [loss for loss, _ in run["resumed"]] == pytest.approx(losses[HALF:], rel=1e-2), way


def test_the_known_keys_are_those_of_the_installed_deepspeed(monkeypatch):
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    from deepspeed.runtime import config, precision_config
    from deepspeed.runtime.zero import config as zero
    from deepspeed.runtime.zero import offload_config

    models = {
        "zero_optimization": zero.DeepSpeedZeroConfig,
        "zero_optimization.offload_optimizer": offload_config.DeepSpeedZeroOffloadOptimizerConfig,
        "zero_optimization.offload_param": offload_config.DeepSpeedZeroOffloadParamConfig,
        "fp16": precision_config.DeepSpeedFP16Config,
        "bf16": precision_config.DeepSpeedBF16Config,
    }
    for path, model in models.items():
        read = {name for field, info in model.model_fields.items() for name in (field, info.alias)}
        assert SECTIONS[path] <= read
    assert set(config._REMOVED_TOP_LEVEL_CONFIG_KEYS) == REMOVED
