"""8 bits: what is rounded, how far off it is, and that it is rounded at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vasomim.inference.backends import open_runtime
from vasomim.inference.torch_backend import TorchBackend

onnx = pytest.importorskip("onnx", reason="needs vasomim[export]")
pytest.importorskip("onnxscript", reason="needs vasomim[export]")
pytest.importorskip("onnxruntime", reason="needs vasomim[export]")
pytest.importorskip("openvino", reason="needs vasomim[export]")
from vasomim.export.quantize import (  # noqa: E402
    LARGEST_WEIGHT,
    activation_scale,
    observe,
    quantization_points,
    weight_steps,
)

Exported = dict[tuple[str, bool], Path]
Frames = Callable[..., np.ndarray]


@given(st.floats(-100, 100), st.floats(0, 100), st.booleans())
def test_activation_scale__covers_the_range_and_holds_zero_exactly(low: float, width: float, symmetric: bool) -> None:
    scale, zero = activation_scale(low, low + width, symmetric=symmetric)
    least, most = (-128, 127) if symmetric else (0, 255)
    assert least <= int(zero) <= most
    if symmetric:
        assert zero == 0
    reach = ((least - int(zero)) * scale, (most - int(zero)) * scale)
    # The zero point is rounded, so that one end may lie half a step outside.
    assert reach[0] <= low + scale / 2 + 1e-6
    assert reach[1] >= low + width - scale / 2 - 1e-6


@pytest.mark.parametrize("axis", [0, 1])
def test_weight_steps__each_channel_has_its_own_step(axis: int) -> None:
    values = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    values[2] *= 100
    whole, scale = weight_steps(values, axis)
    assert whole.dtype == np.int8
    assert scale.shape == (values.shape[axis],)
    shape = (-1, 1) if axis == 0 else (1, -1)
    assert (np.abs(whole * scale.reshape(shape) - values) <= scale.reshape(shape) * 0.5001).all()
    assert np.abs(whole).max(axis=1 - axis).tolist() == [LARGEST_WEIGHT] * values.shape[axis]
    assert 2 * 255 * LARGEST_WEIGHT < 2**15, "two products fit the 16 bits that AVX2 adds them in"


def test_observe__takes_the_extremes_of_all_frames(graph: onnx.ModelProto, make_frames: Frames) -> None:
    points = quantization_points(graph, attention_weights=False, joined=True)
    seen = [make_frames(1, seed=k) * factor for k, factor in ((0, 0.5), (1, 1.0))]
    ranges = observe(graph, points, seen)
    assert set(ranges) == {name for point in points for name in point.tensors}
    assert all(low <= high for low, high in ranges.values())
    halves = [observe(graph, points, [frame]) for frame in seen]
    for name, (low, high) in ranges.items():
        assert (low, high) == (min(r[name][0] for r in halves), max(r[name][1] for r in halves))


def test_observe__needs_a_frame(graph: onnx.ModelProto) -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        observe(graph, [], [])


def test_quantize__rounds_every_convolution_and_linear_layer(exported: Exported) -> None:
    graph = onnx.load(str(exported["onnx", True] / "model.onnx")).graph
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    constants = {tensor.name for tensor in graph.initializer}
    layers = [node for node in graph.node if node.op_type in ("Conv", "MatMul")]
    assert not [node.name for node in layers if node.input[1] in constants], "weights are left in fp32"
    rounded = [node for node in layers if [made_by.get(n) for n in node.input[:2]] == ["DequantizeLinear"] * 2]
    # Left are two products with attention weights and two that resize positions.
    assert len(rounded) == len(layers) - 4 > 15


@pytest.mark.parametrize(("runtime", "entry"), [("onnx", "model.onnx"), ("openvino", "model.xml")])
def test_quantize__is_close_to_fp32_and_not_it(
    exported: Exported, network: TorchBackend, make_frames: Frames, runtime: str, entry: str
) -> None:
    images = make_frames(4, 40, 56, seed=50)
    expected = network.probabilities(images)
    whole = open_runtime(runtime, exported[runtime, True] / entry, "cpu", "fp32")[0].probabilities(images)
    difference = np.abs(whole - expected)
    assert 1e-4 < difference.mean() < 0.03
    assert ((whole >= 0.5) == (expected >= 0.5)).mean() > 0.95
