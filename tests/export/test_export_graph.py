"""What is exported computes what torch computes, at any size and batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vasomim.inference.backends import Backend, open_runtime
from vasomim.inference.torch_backend import TorchBackend
from vasomim.models.registry import create_model
from vasomim.models.vit import VisionTransformer

onnx = pytest.importorskip("onnx", reason="needs vasomim[export]")
pytest.importorskip("onnxscript", reason="needs vasomim[export]")
pytest.importorskip("onnxruntime", reason="needs vasomim[export]")
pytest.importorskip("openvino", reason="needs vasomim[export]")
from vasomim.export.rewrite import plain_positions  # noqa: E402

ENTRIES = {"onnx": "model.onnx", "openvino": "model.xml"}
Exported = dict[tuple[str, bool], Path]
Frames = Callable[..., np.ndarray]


def opened(exported: Exported, runtime: str) -> Backend:
    return open_runtime(runtime, exported[runtime, False] / ENTRIES[runtime], "cpu", "fp32")[0]


def test_to_onnx__is_valid_and_names_its_free_sizes(exported: Exported) -> None:
    file = exported["onnx", False] / "model.onnx"
    onnx.checker.check_model(str(file), full_check=True)
    graph = onnx.load(str(file)).graph
    sizes = {
        value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert sizes == {"images": ["batch", 1, "height", "width"], "probability": ["batch", "height", "width"]}


def test_to_onnx__says_nothing_of_the_machine_it_was_made_on(exported: Exported) -> None:
    content = (exported["onnx", False] / "model.onnx").read_bytes()
    assert b"site-packages" not in content
    assert str(Path(__file__).parents[2]).encode() not in content


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
@pytest.mark.parametrize("shape", [(1, 32, 32), (2, 64, 48), (3, 17, 23), (1, 30, 71), (5, 8, 8), (1, 5, 90)])
def test_exported__equals_torch_at_any_size_and_batch(
    exported: Exported,
    network: TorchBackend,
    make_frames: Frames,
    runtime: str,
    shape: tuple[int, ...],
) -> None:
    images = make_frames(*shape, seed=3)
    found = opened(exported, runtime).probabilities(images)
    assert found.dtype == np.float32
    assert found.shape == shape
    np.testing.assert_allclose(found, network.probabilities(images), atol=5e-5)


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_exported__nothing_in_nothing_out(exported: Exported, runtime: str) -> None:
    assert opened(exported, runtime).probabilities(np.zeros((0, 1, 16, 16), np.float32)).shape == (0, 16, 16)


def test_openvino__many_sizes_share_a_network(exported: Exported, network: TorchBackend, make_frames: Frames) -> None:
    backend = opened(exported, "openvino")
    for side in (16, 24, 32, 40, 48, 56):
        images = make_frames(1, side, side)
        np.testing.assert_allclose(backend.probabilities(images), network.probabilities(images), atol=5e-5)
    assert len(backend._compiled) == 5


def test_openvino__bf16_is_close(exported: Exported, network: TorchBackend, make_frames: Frames) -> None:
    backend = open_runtime("openvino", exported["openvino", False] / "model.xml", "cpu", "bf16")[0]
    assert backend.precision == "bf16"
    assert np.abs(backend.probabilities(make_frames()) - network.probabilities(make_frames())).mean() < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vit_test_unet", "unext_test", "unet_test"])
def test_to_onnx__every_family_of_segmenters(name: str, make_frames: Frames) -> None:
    import onnxruntime

    from vasomim.export.graph import to_onnx

    torch.manual_seed(1)
    torch_network = TorchBackend(create_model(name, img_size=64), "cpu", "fp32")
    session = onnxruntime.InferenceSession(to_onnx(torch_network.model).SerializeToString())
    for shape in ((1, 64, 64), (2, 70, 90), (3, 48, 101)):
        images = make_frames(*shape)
        (found,) = session.run(None, {"images": images})
        np.testing.assert_allclose(found, torch_network.probabilities(images), atol=5e-5)


@pytest.mark.parametrize(("old", "new"), [((4, 4), (8, 6)), ((14, 14), (32, 11)), ((5, 7), (1, 3)), ((4, 4), (4, 4))])
def test_plain_positions__are_those_of_the_network(old: tuple[int, int], new: tuple[int, int]) -> None:
    vit = VisionTransformer((old[0] * 8, old[1] * 8), patch_size=8, embed_dim=8, depth=1, num_heads=1)
    torch.nn.init.normal_(vit.pos_embed)
    with torch.no_grad():
        torch.testing.assert_close(plain_positions(vit, new), vit.positions(new), atol=1e-5, rtol=0)
