"""What `precision` means on a device."""

import pytest
import torch
from torch import nn

from bertjob.errors import SpecError
from bertjob.train import device
from bertjob.train.device import InPrecision, has_bf16, loss_scaler, resolve

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.mark.parametrize(("capability", "meaning"), [((8, 0), "bf16"), ((9, 0), "bf16"), ((7, 0), "fp16")])
def test_auto_on_gpus_follows_their_capability(monkeypatch, capability, meaning):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    assert resolve("auto", GPU) == meaning


@pytest.mark.parametrize(("has", "meaning"), [(True, "bf16"), (False, "fp32")])
def test_auto_on_cpus_follows_their_flags(monkeypatch, has, meaning):
    monkeypatch.setattr(device, "has_bf16", lambda _device: has)
    assert resolve("auto", CPU) == meaning


@pytest.mark.parametrize("flags", ["avx512_bf16", "amx_bf16", "fp asimd bf16 i8mm"])
def test_bf16_of_a_cpu_is_read_from_its_flags(monkeypatch, tmp_path, flags):
    cpuinfo = tmp_path / "cpuinfo"
    monkeypatch.setattr(device, "CPUINFO", cpuinfo)
    assert not has_bf16(CPU)
    cpuinfo.write_text("flags : fpu avx512f avx2\n")
    assert not has_bf16(CPU)
    cpuinfo.write_text(f"flags : fpu {flags}\n")
    assert has_bf16(CPU)


def test_fp16_on_a_cpu_is_refused_in_one_line():
    with pytest.raises(SpecError, match=r"^precision fp16 needs a GPU.*bf16, fp32 or auto$"):
        resolve("fp16", CPU)


@pytest.mark.parametrize(("name", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_a_model_computes_in_its_precision_and_keeps_its_weights(name, dtype):
    model = InPrecision(nn.Linear(2, 2), name, CPU)
    output = model(input=torch.ones(1, 2))
    assert output.dtype == dtype
    output.float().sum().backward()
    assert model.module.weight.grad.dtype == torch.float32


def test_only_fp16_scales_the_loss():
    assert [loss_scaler(name, CPU).is_enabled() for name in ("fp32", "bf16", "fp16")] == [False, False, True]
