"""A folder with an exported network and all that is needed to use it: whole or absent."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx

from vasomim.errors import CheckpointError, VasomimError
from vasomim.export.graph import to_onnx
from vasomim.export.quantize import observe, quantization_points, quantize
from vasomim.files import sha256, whole_folder
from vasomim.inference.backends import ENTRIES, Backend, Images, open_runtime
from vasomim.inference.outputs import Output, choose_output
from vasomim.inference.torch_backend import TorchBackend
from vasomim.metrics import dice
from vasomim.models.trained_on import TRAINED_ON, list_text
from vasomim.models.weights import load_pretrained

RuntimeFormat = Literal["onnx", "openvino"]
PACKAGES: Mapping[str, tuple[str, ...]] = {"onnx": ("onnxruntime",), "openvino": ("openvino",)}
"""What computes each format."""
LARGEST_DIFFERENCE = 5e-3
"""Between probabilities of torch and of an exported network without 8-bit rounding; more is a fault of the export."""
_SEGMENTING = ("segmentation", "segmentor")


@dataclass(frozen=True)
class Agreement:
    """How an exported network answers, compared with torch in fp32 on the same frames."""

    frames: int
    largest_difference: float
    """Between probabilities, of all pixels of all frames."""
    mean_difference: float
    mask_dice: float
    """Dice between the masks of both, mean over frames."""


def load_segmenter(path: Path, output: str | None = None) -> tuple[TorchBackend, dict[str, Any]]:
    """The network to export, in fp32 on the CPU, and its config, with the output that is asked for alone.

    Raises:
        MisuseError: nothing is there, or it has no such output.
        CheckpointError: corrupt weights, or weights that do not segment.
    """
    model, config = load_pretrained(path)
    if config.get("kind") not in _SEGMENTING:
        raise CheckpointError(
            f"{path} holds weights of kind {config.get('kind')!r}, which segment nothing yet; fine-tune them first: "
            f"vasomim finetune DATA --init {path}"
        )
    chosen = choose_output(config, output)
    return TorchBackend(model, "cpu", "fp32", chosen.channel), {**config, "outputs": [chosen.described()]}


def write_export(
    network: TorchBackend,
    config: Mapping[str, Any],
    card: str,
    out: Path,
    runtime: RuntimeFormat,
    frames: Sequence[Images],
    calibration: Sequence[Images] = (),
    trained_on: Collection[str] = (),
) -> dict[str, Any]:
    """Write model.onnx, or model.xml and model.bin, with config.json and README.md, compare it with torch, and say how.

    Args:
        network: from `load_segmenter`.
        config: its config; thresholds and mode of inference travel on.
        card: its model card.
        out: folder, new or empty.
        runtime: what it is made for.
        frames: to compare on, each (1, 1, H, W), at least one; a cut of the first is added, of another size.
        calibration: frames that 8-bit ranges are taken from, each (1, 1, H, W); none leaves the network in fp32.
        trained_on: hashes of the labelled frames that it was fitted to, which travel on.

    Returns:
        What config.json says under `export`.

    Raises:
        MisuseError: `out` holds something.
        VasomimError: the exported network answers otherwise than torch.
        WriteError: nothing can be written.
    """
    with whole_folder(out) as stage:
        _write_network(stage, network, runtime, calibration)
        facts: dict[str, Any] = {
            "format": runtime,
            "int8": bool(calibration),
            "sha256": {file.name: sha256(file) for file in sorted(stage.iterdir())},
            "source": network.fingerprint(),
            "versions": {name: version(name) for name in ("torch", "onnx", *PACKAGES[runtime])},
        }
        _describe(stage, config, facts, card)
        exported, _ = open_runtime(runtime, stage / ENTRIES[runtime], "cpu", "fp32")
        cut = frames[0][:, :, : -(frames[0].shape[2] // 4), : -(frames[0].shape[3] // 3)]  # sizes must be free
        agreement = compare(exported, network, [*frames, cut], choose_output(config))
        if not facts["int8"] and agreement.largest_difference > LARGEST_DIFFERENCE:
            raise VasomimError(
                f"the exported network differs from torch by up to {agreement.largest_difference:.2g} in probability, "
                f"more than {LARGEST_DIFFERENCE}; nothing was written. Try another version of {PACKAGES[runtime][0]}"
            )
        facts["agreement"] = asdict(agreement)
        _describe(stage, config, facts, card)
        if trained_on:
            (stage / TRAINED_ON).write_text(list_text(trained_on), encoding="ascii")
    return facts


def _write_network(stage: Path, network: TorchBackend, runtime: RuntimeFormat, calibration: Sequence[Images]) -> None:
    graph = to_onnx(network.model, network.channel)
    if calibration:
        points = quantization_points(graph, attention_weights=runtime == "openvino", joined=runtime == "onnx")
        graph = quantize(graph, points, observe(graph, points, calibration))
    if runtime == "onnx":
        onnx.save(graph, stage / ENTRIES["onnx"])
        return
    import openvino

    # Read and saved as it is: the converter of the same package would call home.
    model = openvino.Core().read_model(graph.SerializeToString())
    openvino.save_model(model, str(stage / ENTRIES["openvino"]), compress_to_fp16=False)


def compare(exported: Backend, network: Backend, frames: Sequence[Images], output: Output) -> Agreement:
    """Agreement of two networks on frames, each (1, 1, H, W), in probability and in the masks made of it."""
    largest, means, overlaps = 0.0, [], []
    for frame in frames:
        one, other = exported.probabilities(frame)[0], network.probabilities(frame)[0]
        difference = np.abs(one - other)
        largest = max(largest, float(difference.max()))
        means.append(float(difference.mean()))
        overlaps.append(dice(*(output.cut(output.calibrated(found)) for found in (one, other))))
    return Agreement(len(frames), largest, float(np.mean(means)), float(np.mean(overlaps)))


def _describe(stage: Path, config: Mapping[str, Any], facts: Mapping[str, Any], card: str) -> None:
    text = json.dumps({**config, "export": facts}, indent=2, sort_keys=True)
    (stage / "config.json").write_text(text + "\n", encoding="utf-8")
    (stage / "README.md").write_text(f"{card.rstrip()}\n\n{_card_section(facts)}", encoding="utf-8")


def _card_section(facts: Mapping[str, Any]) -> str:
    rounded = "8-bit weights and activations" if facts["int8"] else "fp32"
    agreement = facts.get("agreement")
    lines = ["## Export", f"{facts['format']}, {rounded}, from weights {facts['source'][:16]}, {facts['versions']}."]
    if agreement:
        lines.append(
            f"Compared with torch in fp32 on {agreement['frames']} frames: probabilities differ by "
            f"{agreement['mean_difference']:.1e} in the mean and {agreement['largest_difference']:.1e} at most; Dice "
            f"between both masks {agreement['mask_dice']:.4f}."
        )
    return "\n".join([*lines, ""])
