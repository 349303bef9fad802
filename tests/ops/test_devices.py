"""Devices and precisions that exist, and those that do not."""

from __future__ import annotations

import pytest
import torch

from vasomim.errors import MisuseError
from vasomim.ops.devices import computes_bf16_fast, free_memory, resolve_device, resolve_precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("name", "device"), [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("cpu", "cpu")]
)
def test_resolve_device__with_two_gpus(name, device):
    assert resolve_device(name) == torch.device(device)


@pytest.mark.usefixtures("two_gpus")
def test_resolve_device__refuses_a_third_of_two_gpus():
    with pytest.raises(MisuseError, match=r"cuda:2, but this machine offers 2 CUDA"):
        resolve_device("cuda:2")


@pytest.mark.usefixtures("no_gpu")
def test_resolve_device__without_a_gpu():
    assert resolve_device("auto") == CPU
    with pytest.raises(MisuseError, match=r"device=cuda, but this machine offers 0 CUDA"):
        resolve_device("cuda")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cpu:0", "cuda:-1", ""])
def test_resolve_device__refuses_unknown_names(name):
    with pytest.raises(MisuseError):
        resolve_device(name)


@pytest.mark.parametrize(
    ("capabilities", "precision"), [({}, "fp32"), ({"avx512_bf16": True}, "fp32"), ({"amx_bf16": True}, "bf16")]
)
def test_resolve_precision__auto_is_bf16_only_where_it_is_fast(monkeypatch, capabilities, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert resolve_precision("auto", CPU) == precision
    assert resolve_precision("fp32", CPU) == "fp32"
    assert resolve_precision("bf16", CPU) == "bf16"


def test_computes_bf16_fast__where_torch_cannot_tell(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not computes_bf16_fast(CPU)


def test_resolve_precision__refuses_fp16_on_a_cpu_and_unknown_ones():
    with pytest.raises(MisuseError, match="fp16 on a CPU"):
        resolve_precision("fp16", CPU)
    with pytest.raises(MisuseError, match="need auto, fp32, bf16, fp16"):
        resolve_precision("int8", CPU)
    assert resolve_precision("fp16", CUDA) == "fp16"


def test_free_memory__asks_the_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (7, 9) if device == CUDA else None)
    assert free_memory(CUDA) == 7
    assert 0 <= free_memory(CPU) < 2**60
    monkeypatch.setattr("os.sysconf", lambda _: (_ for _ in ()).throw(ValueError("unknown")))
    assert free_memory(CPU) == 0
