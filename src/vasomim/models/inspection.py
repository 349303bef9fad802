"""What a weight file is, whose it is, and which of our models it would start: facts without loading it into a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vasomim.errors import CheckpointError, MisuseError
from vasomim.models.architecture import EncoderFacts, decoder_measures, encoder_facts
from vasomim.models.layouts import layout_of
from vasomim.models.matching import MatchReport, adapt_state
from vasomim.models.registry import MODELS, create_model
from vasomim.models.sizes import DECODERS, bare_name
from vasomim.models.weight_files import container_of, find_weights, read_json_beside, read_licence, read_state_dict
from vasomim.models.weights import is_ours, read_config

WORDS = {"safetensors": "safetensors", "zip": "torch.save", "pickle": "torch.save, before 1.6"}


def inspect_weights(path: Path | str, model: str | None = None) -> dict[str, Any]:
    """Facts about a weight file, ready for JSON.

    Args:
        path: Anything that `load_encoder` reads, or any other file of tensors.
        model: Registry name of a model to compare with; without one, those of the file's own size.

    Returns:
        `file`, `container`, `layout`, `kind` (of our own), `tensors`, `parameters`, `dtypes`, `nonfinite`, `licence`,
        `statistics` (of images, where a file says them), `architecture` or None, `unfit` (why no model takes it, or
        None), and `models`: for each, how many tensors match, are resized, converted, left or missing, with the table.

    Raises:
        MisuseError: if the path does not exist, or there is no such model.
        CheckpointError: if the file cannot be read.
    """
    file = find_weights(path)
    state = read_state_dict(file)
    ours = read_config(file) if is_ours(file) else None
    config = _config(file, ours)
    architecture, unfit = _architecture(file, state, ours, config)
    decoder = decoder_measures(state, config)
    size = architecture.model if architecture else None
    return {
        "file": str(file),
        "container": WORDS[container_of(file)],
        "layout": "vasomim" if ours else (layout_of(state) if architecture else None),
        "kind": f"{ours['model']} ({ours['kind']})" if ours else None,
        "tensors": len(state),
        "parameters": sum(value.numel() for value in state.values() if value.is_floating_point()),
        "dtypes": dict(Counter(str(value.dtype).removeprefix("torch.") for value in state.values())),
        "nonfinite": [n for n, v in state.items() if v.is_floating_point() and not v.isfinite().all()],
        "licence": _licence(file),
        "statistics": _statistics(file, ours),
        "architecture": _measures(architecture, decoder) if architecture else None,
        "unfit": unfit,
        "models": [_comparison(name, state, architecture, decoder, ours) for name in _candidates(model, ours, size)],
    }


def _config(file: Path, ours: Mapping[str, Any] | None) -> dict[str, Any]:
    """What no tensor shows, in the words of transformers: of their file beside, or of ours, which says arguments."""
    if not ours:
        return read_json_beside(file)
    arguments = {**DECODERS.get(bare_name(ours["model"]), {}), **ours.get("kwargs", {})}
    return {"decoder_num_attention_heads": arguments.get("decoder_num_heads")}


def _architecture(
    file: Path, state: Mapping[str, Tensor], ours: Mapping[str, Any] | None, config: Mapping[str, Any]
) -> tuple[EncoderFacts | None, str | None]:
    """The ViT in the file, or why there is none that our ViT can be."""
    try:
        facts = encoder_facts(state, config, file.name)
    except CheckpointError as error:
        return None, None if ours and ours["kind"] == "segmentor" else str(error)
    if facts.model is None:
        return facts, f"none of our ViTs has width {facts.embed_dim} and {facts.depth} blocks"
    return facts, None


def _licence(file: Path) -> dict[str, str] | None:
    stated = read_licence(file)
    return {"name": stated[0], "stated_in": stated[1]} if stated else None


def _statistics(file: Path, ours: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Mean and standard deviation that images are expected to be normalised with, where the file says so."""
    if ours:
        return {"mean": ours["mean"], "std": ours["std"], "applied": True} if {"mean", "std"} <= ours.keys() else None
    stated = read_json_beside(file, "preprocessor_config.json")
    if {"image_mean", "image_std"} <= stated.keys():
        return {"mean": stated["image_mean"], "std": stated["image_std"], "applied": False}
    timm = read_json_beside(file).get("pretrained_cfg")
    if isinstance(timm, dict) and {"mean", "std"} <= timm.keys():
        return {"mean": timm["mean"], "std": timm["std"], "applied": False}
    return None


def _measures(facts: EncoderFacts, decoder: Mapping[str, int] | None) -> dict[str, Any]:
    sizes = {"grid": list(facts.grid), "img_size": list(facts.img_size)}
    return {**asdict(facts), **sizes, "decoder": decoder}


def _candidates(model: str | None, ours: Mapping[str, Any] | None, size: str | None) -> list[str]:
    """Models to compare with: the one asked for, else the file's own and those around a ViT of its size."""
    if model is not None:
        if model not in MODELS:
            create_model(model)  # raises with the nearest names
        return [model]
    around = [size, f"mae_{size}", f"{size}_unet"] if size else []
    return list(dict.fromkeys([*([ours["model"]] if ours else []), *around]))


def _comparison(
    name: str,
    state: Mapping[str, Tensor],
    facts: EncoderFacts | None,
    decoder: Mapping[str, int] | None,
    ours: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What `load_weights` would do with the file, for a model with the file's own patch size and registers."""
    bare = bare_name(name)
    own: Mapping[str, Any] = facts.arguments() if facts and facts.model == bare else {}
    if ours and name == ours["model"]:
        own = ours.get("kwargs", {})
    elif own and name.startswith("mae_"):
        own = {**own, **(decoder or {})}
    try:
        report = compare(name, state, own)
    except CheckpointError as error:
        return {"model": name, "fits": False, "reason": str(error)}
    return {"model": name, "fits": True, **report.counts(), "arguments": own, "table": report.table()}


def compare(name: str, state: Mapping[str, Tensor], arguments: Mapping[str, Any]) -> MatchReport:
    """The report of fitting a state dict to a model, which is never given any memory.

    Raises:
        CheckpointError: if it does not fit.
    """
    try:
        with torch.device("meta"):
            model = create_model(name, **arguments)
    except MisuseError as error:
        raise CheckpointError(str(error)) from error
    return adapt_state(model, state)[1]
