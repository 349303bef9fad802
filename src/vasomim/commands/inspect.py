"""`vasomim inspect`: what weight files are, which of our models they start, and the way into other libraries."""

from __future__ import annotations

from collections.abc import Mapping
from json import dumps
from typing import Any

from vasomim.commands.console import say
from vasomim.config import InspectConfig
from vasomim.errors import MisuseError
from vasomim.files import refuse_filled
from vasomim.models.inspection import inspect_weights
from vasomim.models.key_export import save_for


def run(config: InspectConfig, *, json: bool = False, verbose: bool = False) -> int:
    """Print the facts of each file, as text or as a JSON list; with `export` write the only one for another library."""
    if config.export is not None:
        return _export(config, json=json)
    found = [inspect_weights(path, config.model) for path in config.inputs]
    if json:
        print(dumps(found, indent=2))
        return 0
    print("\n\n".join(as_text(facts, tables=verbose or config.model is not None) for facts in found))
    return 0


def _export(config: InspectConfig, *, json: bool) -> int:
    if config.out is None or len(config.inputs) != 1:
        raise MisuseError("--export takes one INPUT and needs --out DIR, a new folder")
    refuse_filled(config.out)
    assert config.export is not None
    written = save_for(config.export, config.out, config.inputs[0])
    if json:
        print(dumps({"out": str(config.out), "target": config.export, "config": written}, indent=2))
    else:
        print(f"out: {config.out}")
        say(f"read it with {_HOW[config.export].format(out=config.out)}")
    return 0


_HOW = {
    "timm": 'timm.create_model("local-dir:{out}", pretrained=True)',
    "hf-vit": 'transformers.ViTModel.from_pretrained("{out}", add_pooling_layer=False)',
    "hf-vitmae": 'transformers.ViTMAEForPreTraining.from_pretrained("{out}")',
}


def as_text(facts: Mapping[str, Any], *, tables: bool) -> str:
    """The facts of one file for people."""
    types = ", ".join(f"{count} {name}" for name, count in facts["dtypes"].items())
    lines = [
        facts["file"],
        f"  format        {facts['container']}, keys of {facts['layout'] or 'no ViT'}{_brackets(facts['kind'])}",
        f"  parameters    {facts['parameters']:,} in {facts['tensors']} tensors ({types})",
        *_architecture(facts["architecture"]),
        f"  images        {_statistics(facts['statistics'])}",
        f"  licence       {_licence(facts['licence'])}",
    ]
    if facts["nonfinite"]:
        lines.append(
            f"  DAMAGED       NaN or infinite values in {len(facts['nonfinite'])} tensors: {facts['nonfinite'][0]}"
        )
    if facts["unfit"]:
        lines.append(f"  fits          none of our models: {facts['unfit']}")
    for model in facts["models"]:
        lines += _model(model, table=tables)
    return "\n".join(lines)


def _brackets(text: str | None) -> str:
    return f" [{text}]" if text else ""


def _architecture(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return []
    heads = f"{found['num_heads']} heads" if found["num_heads"] else "heads unknown"
    height, width = found["img_size"]
    extras = [f"{found['reg_tokens']} registers"] if found["reg_tokens"] else []
    extras += ["layer scale"] if found["layer_scale"] else []
    extras += [] if found["qkv_bias"] else ["no bias on query, key and value"]
    extras += [] if found["mlp_ratio"] == 4 else [f"MLP ratio {found['mlp_ratio']:g}"]
    lines = [
        f"  architecture  ViT, width {found['embed_dim']}, {found['depth']} blocks, {heads}"
        + "".join(f", {extra}" for extra in extras),
        f"  made for      {height} x {width} pixels, patch {found['patch_size']}, {found['in_chans']} channel(s)",
    ]
    if found["decoder"]:
        width, depth = found["decoder"]["decoder_embed_dim"], found["decoder"]["decoder_depth"]
        lines.append(f"  decoder       width {width}, {depth} blocks (of a masked autoencoder)")
    return lines


def _statistics(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "normalisation unknown: no file says it"
    done = "by the model itself" if found["applied"] else "before the model"
    return f"normalised {done}, mean {found['mean']}, deviation {found['std']}"


def _licence(found: Mapping[str, str] | None) -> str:
    return f"{found['name']} ({found['stated_in']})" if found else "unknown: no file says it"


def _model(found: Mapping[str, Any], *, table: bool) -> list[str]:
    if not found["fits"]:
        return [f"  {found['model']}: does not fit, {found['reason']}"]
    counts = ", ".join(f"{found[kind]} {kind}" for kind in ("matched", "resized", "converted", "left", "missing"))
    lines = [f"  {found['model']}: {counts}"]
    return lines + [f"    {line}" for line in found["table"].splitlines()] if table else lines
