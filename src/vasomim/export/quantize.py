"""Static 8-bit quantisation of an ONNX graph: what is rounded where, in which ranges.

Activations are rounded as tensors (unsigned, with a zero point), weights by output channel (signed, symmetric, to 7
bits); written as QuantizeLinear and DequantizeLinear pairs, which ONNX Runtime and OpenVINO turn into 8-bit kernels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import NodeProto, TensorProto, helper, numpy_helper

from vasomim.export.graph import INPUT

Range = tuple[float, float]
"""Smallest and largest value."""
_READERS = ("Conv", "MatMul", "Concat", "InstanceNormalization", "Reshape", "Resize", "Shape")
"""Operations that read the rounded values of a tensor; residual sums, for one, read the exact ones."""
_AFTER_CONVOLUTION = ("InstanceNormalization", "Reshape", "Resize")
LARGEST_WEIGHT = 63
"""In steps. A processor without 8-bit dot products (AVX2, no VNNI) adds the products of two neighbours in 16 bits with
sign: 2 x 255 x 127 does not fit and is cut off without a word, 2 x 255 x 63 does."""


@dataclass(frozen=True)
class Point:
    """Tensors that are rounded in one range."""

    tensors: tuple[str, ...]
    symmetric: bool = False
    """Signed without zero point, as products of two activations need it."""


class _Wiring:
    """Who makes and who reads each tensor of a graph, and what is constant."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.nodes: list[NodeProto] = list(graph.node)
        self.constants: dict[str, TensorProto] = {tensor.name: tensor for tensor in graph.initializer}
        self.maker = {name: node for node in self.nodes for name in node.output}
        self.readers: defaultdict[str, list[NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                self.readers[name].append(node)

    def is_weighted(self, node: NodeProto) -> bool:
        """Whether a node is a convolution or a product with constant weights."""
        return node.op_type in ("Conv", "MatMul") and node.input[1] in self.constants

    def made_by(self, name: str, kind: str) -> bool:
        return name in self.maker and self.maker[name].op_type == kind

    def feeds(self, name: str, *kinds: str) -> bool:
        return any(reader.op_type in kinds for reader in self.readers[name])


def quantization_points(model: onnx.ModelProto, *, attention_weights: bool, joined: bool) -> list[Point]:
    """What to round in a graph of `to_onnx`.

    Rounded are the inputs of convolutions and of linear layers; queries, keys and values; what is concatenated before
    a convolution, in one range; and the outputs of convolutions before a normalisation or resizing, so that they leave
    the convolution as 8 bits.

    Args:
        model: the graph.
        attention_weights: also round the attention weights and values, for an 8-bit product (OpenVINO fuses both
            products and the softmax then; ONNX Runtime is faster without).
        joined: round concatenations again behind the joint (ONNX Runtime needs that to stay in 8 bits).
    """
    wiring = _Wiring(model.graph)
    points: dict[str, Point] = {}
    for node in wiring.nodes:
        if wiring.is_weighted(node):
            for point in _input_points(wiring, node.input[0], joined=joined):
                points |= dict.fromkeys(point.tensors, point)
            if node.op_type == "Conv" and wiring.feeds(node.output[0], *_AFTER_CONVOLUTION):
                points.setdefault(node.output[0], Point((node.output[0],)))
        elif node.op_type == "MatMul":
            weighs = wiring.made_by(node.input[0], "Softmax")
            if wiring.feeds(node.output[0], "Softmax") or (weighs and attention_weights):
                for name in node.input:
                    points[name] = Point((name,), symmetric=not wiring.made_by(name, "Softmax"))
    return list(dict.fromkeys(points.values()))


def _input_points(wiring: _Wiring, name: str, *, joined: bool) -> list[Point]:
    """Where the input of a convolution or linear layer is rounded: itself, or the parts it is joined from."""
    joint = wiring.maker.get(name)
    whole = joint is None or joint.op_type != "Concat" or any(wiring.made_by(part, "Slice") for part in joint.input)
    if whole or joint is None:
        return [Point((name,))]
    return [Point((*joint.input, *([name] if joined else [])))]


def observe(
    model: onnx.ModelProto, points: Iterable[Point], frames: Iterable[npt.NDArray[np.float32]]
) -> dict[str, Range]:
    """Range of every tensor to be rounded over all frames.

    Args:
        model: the graph.
        points: from `quantization_points`.
        frames: each (1, 1, H, W) in [0, 1].
    """
    names = [name for point in points for name in point.tensors]
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    for index, name in enumerate(names):  # only the two numbers leave the graph, not the tensor
        for kind, suffix in (("ReduceMin", "low"), ("ReduceMax", "high")):
            watched.graph.node.append(helper.make_node(kind, [name], [f"{suffix}_{index}"], keepdims=0))
            watched.graph.output.append(helper.make_tensor_value_info(f"{suffix}_{index}", TensorProto.FLOAT, []))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    wanted = [f"{suffix}_{index}" for index in range(len(names)) for suffix in ("low", "high")]
    seen = [session.run(wanted, {INPUT: frame}) for frame in frames]
    if not seen:
        raise ValueError("need at least one frame to observe ranges on, got none")
    values = np.array(seen, np.float64).reshape(-1, len(names), 2)
    low, high = values[..., 0].min(0), values[..., 1].max(0)
    return {name: (float(low[k]), float(high[k])) for k, name in enumerate(names)}


def quantize(model: onnx.ModelProto, points: Iterable[Point], ranges: Mapping[str, Range]) -> onnx.ModelProto:
    """The graph with activations and weights rounded to 8 bits.

    Args:
        model: the graph.
        points: from `quantization_points`.
        ranges: from `observe`.
    """
    quantized = onnx.ModelProto()
    quantized.CopyFrom(model)
    writer = _Writer(_Wiring(quantized.graph), points, ranges)
    writer.write(quantized.graph)
    onnx.checker.check_model(quantized)
    return quantized


class _Writer:
    """Puts pairs of QuantizeLinear and DequantizeLinear into a graph."""

    def __init__(self, wiring: _Wiring, points: Iterable[Point], ranges: Mapping[str, Range]) -> None:
        self.wiring = wiring
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self.pairs = {name: point for point in points for name in point.tensors}
        self.ranges = {
            name: (min(ranges[n][0] for n in point.tensors), max(ranges[n][1] for n in point.tensors))
            for name, point in self.pairs.items()
        }
        self.weights: dict[str, str] = {}

    def write(self, graph: onnx.GraphProto) -> None:
        """Rewrite the nodes and constants of the graph."""
        for value in graph.input:
            self._round(value.name)
        for node in self.wiring.nodes:
            if node.op_type in _READERS:
                self._redirect(node)
            self.nodes.append(node)
            for name in node.output:
                self._round(name)
        used = {name for node in self.nodes for name in node.input}
        kept = [tensor for tensor in (*graph.initializer, *self.constants) if tensor.name in used]
        del graph.node[:], graph.initializer[:]
        graph.node.extend(self.nodes)
        graph.initializer.extend(kept)

    def _round(self, name: str) -> None:
        """Append the pair of an activation, if it is to be rounded."""
        if name not in self.pairs:
            return
        scale, zero = activation_scale(*self.ranges[name], symmetric=self.pairs[name].symmetric)
        steps = [self._constant(f"{name}_scale", scale), self._constant(f"{name}_zero", zero)]
        self.nodes += [
            helper.make_node("QuantizeLinear", [name, *steps], [f"{name}_int8"], name=f"{name}_quantize"),
            helper.make_node("DequantizeLinear", [f"{name}_int8", *steps], [_rounded(name)], name=f"{name}_dequantize"),
        ]

    def _redirect(self, node: NodeProto) -> None:
        """Let a node read rounded values: of both sides of a product, or of none."""
        weighted = self.wiring.is_weighted(node)
        if node.op_type == "MatMul" and not weighted and not all(name in self.pairs for name in node.input):
            return
        for position, name in enumerate(node.input):
            if name in self.pairs:
                node.input[position] = _rounded(name)
        if weighted:
            node.input[1] = self._weight(node.input[1], of_convolution=node.op_type == "Conv")

    def _weight(self, name: str, *, of_convolution: bool) -> str:
        """Rounded weights, each output channel in its own range."""
        if name not in self.weights:
            values = numpy_helper.to_array(self.wiring.constants[name])
            axis = 0 if of_convolution else values.ndim - 1
            whole, scale = weight_steps(values, axis)
            steps = [self._constant(f"{name}_int8", whole), self._constant(f"{name}_scale", scale)]
            self.nodes.append(
                helper.make_node("DequantizeLinear", steps, [_rounded(name)], axis=axis, name=f"{name}_dequantize")
            )
            self.weights[name] = _rounded(name)
        return self.weights[name]

    def _constant(self, name: str, value: npt.NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name


def _rounded(name: str) -> str:
    return f"{name}_rounded"


def activation_scale(low: float, high: float, *, symmetric: bool) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Scale and zero point of a range, widened to hold 0: float32 (), and int8 () where symmetric, else uint8 ()."""
    low, high = min(low, 0.0), max(high, 0.0)
    if symmetric:
        return np.array(max(-low, high, 1e-8) / 127, np.float32), np.array(0, np.int8)
    scale = max(high - low, 1e-8) / 255
    return np.array(scale, np.float32), np.array(round(-low / scale), np.uint8)


def weight_steps(values: npt.NDArray[np.float32], axis: int) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Whole steps of weights, at most `LARGEST_WEIGHT` either way, and the step of each channel along `axis`."""
    others = tuple(k for k in range(values.ndim) if k != axis)
    scale = np.maximum(np.abs(values).max(axis=others, keepdims=True), 1e-12) / LARGEST_WEIGHT
    whole = np.clip(np.rint(values / scale), -LARGEST_WEIGHT, LARGEST_WEIGHT).astype(np.int8)
    return whole, scale.reshape(-1).astype(np.float32)
