"""DeepSpeed's CUDA operators: compiled by one process at a time, whatever a killed one has left behind."""

import fcntl
from pathlib import Path

import pytest
import torch
from deepspeed.ops import op_builder

from bertjob.errors import PreflightError, SpecError
from bertjob.train.deepspeed_ops import load_operator


class Builder:
    """Stands in for an operator's builder on a machine without CUDA; notes what it finds when it compiles."""

    name = "operator"
    failure: Exception | None = None
    found: list[tuple[bool, bool]] = []
    folder = Path()

    def load(self, verbose: bool) -> None:
        lock, turn = self.folder / self.name / "lock", self.folder / f".{self.name}.bertjob"
        with turn.open("w") as other:
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.found.append((lock.exists(), True))
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def builder(monkeypatch, tmp_path):
    made = type("Made", (Builder,), {"found": [], "folder": tmp_path})
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")  # which the call changes, and other tests rely on
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(op_builder, "MadeBuilder", made, raising=False)
    return made


def test_the_lock_of_a_killed_build_is_removed_and_others_wait_their_turn(builder, tmp_path):
    (tmp_path / "operator").mkdir()
    (tmp_path / "operator" / "lock").touch()
    load_operator("model.kernel.enabled", "MadeBuilder")
    assert builder.found == [(False, True)]
    load_operator("model.kernel.enabled", "MadeBuilder")  # the turn is over


def test_what_cannot_be_compiled_is_one_line_that_says_what_it_takes(builder):
    builder.failure = RuntimeError("\nninja: build stopped\nand a page of nvcc")
    with pytest.raises(PreflightError) as refused:
        load_operator("model.kernel.enabled", "MadeBuilder")
    said = str(refused.value)
    assert said.startswith("model.kernel.enabled: DeepSpeed's operator operator cannot be compiled here (ninja: build")
    assert "nvcc of CUDA 12.8" in said
    assert "\n" not in said


def test_without_a_gpu_nothing_is_tried(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SpecError, match=r"needs a GPU with CUDA, and torch .* sees none here"):
        load_operator("optimizer.name fused-lamb", "FusedLambBuilder")
