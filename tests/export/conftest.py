"""A small segmenter, traced and exported once for all tests: tracing takes seconds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from vasomim.inference.torch_backend import TorchBackend
from vasomim.models.registry import create_model
from vasomim.models.weights import save_pretrained

if TYPE_CHECKING:
    import onnx

KWARGS = {"img_size": 32, "widths": [8, 8]}
FACTS: dict[str, Any] = {
    "kind": "segmentation",
    "model": "vit_test_unet",
    "kwargs": KWARGS,
    "inference": {"mode": "resize", "size": 32},
    "threshold": 0.5,
}
LEARNED = ("b" * 32, "a" * 32)
FORMS = [("onnx", False), ("onnx", True), ("openvino", False), ("openvino", True)]


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder whose network gives probabilities all over [0, 1]."""
    torch.manual_seed(0)
    model = create_model("vit_test_unet", **KWARGS)
    torch.nn.init.normal_(model.head.weight, std=3.0)
    torch.nn.init.zeros_(model.head.bias)
    folder = tmp_path_factory.mktemp("exporting") / "my_run"
    save_pretrained(folder / "export", model, FACTS, "A card.", trained_on=LEARNED)
    return folder


@pytest.fixture(scope="session")
def network(run_folder: Path) -> TorchBackend:
    from vasomim.export.folder import load_segmenter

    backend = load_segmenter(run_folder)[0]
    assert backend.probabilities(frames()).std() > 0.1, "else no comparison could fail"
    return backend


@pytest.fixture(scope="session")
def graph(network: TorchBackend) -> onnx.ModelProto:
    from vasomim.export.graph import to_onnx

    return to_onnx(network.model)


@pytest.fixture
def traced(graph: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports take the graph that is traced already."""
    monkeypatch.setattr("vasomim.export.folder.to_onnx", lambda *_: graph)


@pytest.fixture(scope="session")
def exported(
    network: TorchBackend, graph: onnx.ModelProto, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, bool], Path]:
    """The folder of each form, by runtime and whether it is int8."""
    from vasomim.export.folder import write_export

    root = tmp_path_factory.mktemp("exported")
    seen = [frames(count=1, seed=k) for k in range(8)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vasomim.export.folder.to_onnx", lambda *_: graph)
        folders = {}
        for runtime, int8 in FORMS:
            folders[runtime, int8] = root / f"{runtime}_{'int8' if int8 else 'fp32'}"
            write_export(network, FACTS, "A card.", folders[runtime, int8], runtime, seen[:2], seen if int8 else ())  # type: ignore[arg-type]
    return folders


def frames(count: int = 2, height: int = 32, width: int = 32, seed: int = 0) -> np.ndarray:
    """float32 (B, 1, H, W) in [0, 1]: smooth noise with dark bars."""
    rng = np.random.default_rng(seed)
    images = 0.6 + 0.1 * rng.standard_normal((count, 1, height, width))
    for image in images:
        column = rng.integers(2, width - 2)
        image[0, :, column - 2 : column + 2] = 0.1
    return images.clip(0, 1).astype(np.float32)


@pytest.fixture
def make_frames() -> Any:
    return frames
