"""What computes a frame fastest here, for whoever times it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from vasomim.export import fastest
from vasomim.inference.torch_backend import TorchBackend

for module in ("onnx", "onnxscript", "onnxruntime", "openvino"):
    pytest.importorskip(module, reason="needs vasomim[export]")

Frames = Callable[..., np.ndarray]


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("int8", [False, True])
def test_fastest_backend__computes_the_model(
    network: TorchBackend, tmp_path: Path, make_frames: Frames, int8: bool
) -> None:
    frames = [make_frames(1, seed=k) for k in range(3)]
    backend = fastest.fastest_backend(network.model, frames, tmp_path / "out", int8=int8)
    assert backend.name == "openvino"
    difference = np.abs(backend.probabilities(frames[0]) - network.probabilities(frames[0]))
    assert difference.mean() < (0.03 if int8 else 1e-3)
    assert (difference.mean() > 1e-4) == int8


def test_fastest_backend__is_torch_where_nothing_else_is(
    network: TorchBackend, tmp_path: Path, make_frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastest, "find_spec", lambda _: None)
    assert fastest.fastest_backend(network.model, [make_frames(1)], tmp_path / "out").name == "torch"
    assert not (tmp_path / "out").exists()


def test_seconds_per_frame__is_the_median_of_what_counts(make_frames: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 1.0, 10.0, 15.0, 20.0, 22.0])  # 1, 5 and 2 seconds
    monkeypatch.setattr(fastest, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))

    class Counting:
        name, device, precision = "torch", "cpu", "fp32"
        calls = 0

        def probabilities(self, images: np.ndarray) -> np.ndarray:
            self.calls += 1
            return images[:, 0]

        def fingerprint(self) -> str:
            return ""

    backend = Counting()
    assert fastest.seconds_per_frame(backend, make_frames(1), rounds=3) == 2.0
    assert backend.calls == 5
