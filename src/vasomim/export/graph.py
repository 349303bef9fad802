"""From a segmentation model to an ONNX graph of free batch, height and width."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import torch
from torch import nn

from vasomim.export.rewrite import Segmenter, for_runtimes

INPUT, OUTPUT = "images", "probability"


def to_onnx(model: nn.Module, channel: int = 0) -> onnx.ModelProto:
    """The graph of a segmentation model: images (B, 1, H, W) in [0, 1] -> probability (B, H, W).

    Everything happens inside: normalisation, padding to the model's multiples and cropping, positions resized to the
    frame, sigmoid.
    """
    side = int(getattr(model, "multiple", 32))
    # Neither side a multiple, else the trace would see no padding; batch 2, as 1 would be taken for a constant.
    images = torch.rand(2, 1, 2 * side + side // 2 + 1, 3 * side + side // 2 - 1)
    with _quiet():
        program = torch.onnx.export(
            Segmenter(for_runtimes(model), channel).eval(),
            (images,),
            dynamo=True,
            external_data=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes={INPUT: {0: "batch", 2: "height", 3: "width"}},
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    for value in (*proto.graph.input, *proto.graph.output):
        _name_sides(value)
    del proto.graph.value_info[:]  # shapes in the trace's own symbols
    del proto.metadata_props[:]  # and where it was traced
    for node in proto.graph.node:
        del node.metadata_props[:]
    onnx.checker.check_model(proto)
    return proto


def _name_sides(value: onnx.ValueInfoProto) -> None:
    """Call the free sizes of an input or output batch, height and width."""
    sizes = value.type.tensor_type.shape.dim
    names = {0: "batch", len(sizes) - 2: "height", len(sizes) - 1: "width"}
    for position, name in names.items():
        sizes[position].dim_param = name


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on packages that are not installed and on its own deprecations."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
