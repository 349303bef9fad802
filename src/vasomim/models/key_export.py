"""Our encoders in the folders of other libraries: timm, and transformers' ViTModel and ViTMAEForPreTraining.

Each folder holds model.safetensors, config.json, README.md, and for transformers preprocessor_config.json. Outputs are
equal to ours for images normalised as the configuration says, which our own encoders do themselves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from vasomim.errors import MisuseError
from vasomim.models.input_norm import InputNorm
from vasomim.models.layouts import to_hf_vit, to_hf_vitmae
from vasomim.models.mae import MaskedAutoencoder
from vasomim.models.vit import Block, VisionTransformer
from vasomim.models.weight_files import CARD, CONFIG, find_weights, read_licence, read_state_dict
from vasomim.models.weights import foreign_facts, is_ours, load_autoencoder, load_encoder, write_weights_folder

Target = Literal["timm", "hf-vit", "hf-vitmae"]

_EPS = 1e-6
"""Of our LayerNorms; transformers' default is another."""


def save_for(target: Target, out: Path | str, path: Path | str) -> dict[str, Any]:
    """Write the encoder (`hf-vitmae`: the whole autoencoder) in a weight file for another library, all or nothing.

    Args:
        target: `timm` (read with `timm.create_model("local-dir:OUT", pretrained=True)`), `hf-vit` or `hf-vitmae` (read
            with `from_pretrained(OUT)`).
        out: Folder to write; an older export there is replaced.
        path: Anything that `load_encoder`, or for `hf-vitmae` `load_autoencoder`, reads.

    Returns:
        The configuration written.

    Raises:
        MisuseError: if the path does not exist, or the target has no place for a part of the model.
        CheckpointError: as the loaders, or the folder cannot be written.
    """
    model: VisionTransformer | MaskedAutoencoder
    if target == "hf-vitmae":
        model = load_autoencoder(path)
        tensors, config = _hf_vitmae(model)
    else:
        model = _encoder_as_stored(path)
        tensors, config = _timm(model) if target == "timm" else _hf_vit(model)
    texts = {CONFIG: json.dumps(config, indent=2, sort_keys=True) + "\n", CARD: _card(target, find_weights(path))}
    if target != "timm":
        texts["preprocessor_config.json"] = json.dumps(_preprocessing(model), indent=2, sort_keys=True) + "\n"
    write_weights_folder(out, tensors, texts)
    return dict(config)


def _encoder_as_stored(path: Path | str) -> VisionTransformer:
    """The encoder with the channels and the image size it was trained with, so that nothing is converted needlessly."""
    if is_ours(path):
        return load_encoder(path)
    facts = foreign_facts(path, read_state_dict(path))
    return load_encoder(path, in_chans=facts.in_chans, img_size=facts.img_size[0])


def _statistics(model: VisionTransformer | MaskedAutoencoder) -> tuple[float, float]:
    """Mean and standard deviation that images are normalised with inside of the model; 0 and 1 where they are not."""
    norm = model.input_norm
    return (float(norm.mean), float(norm.std)) if isinstance(norm, InputNorm) else (0.0, 1.0)


def _first(blocks: nn.ModuleList) -> Block:
    block = blocks[0]
    assert isinstance(block, Block)
    return block


def _timm(model: VisionTransformer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Our keys are timm's; registers have no position there, so the class token takes its own along."""
    state, measures = dict(model.state_dict()), model.measures
    arguments = {name: measures[name] for name in measures.keys() - {"num_classes", "reg_tokens"}}
    arguments["img_size"] = list(model.img_size)
    if model.reg_token is not None:
        positions = state["pos_embed"]
        state["cls_token"] = state["cls_token"] + positions[:, :1]
        state["pos_embed"] = positions[:, 1:]
        arguments |= {"reg_tokens": model.num_registers, "no_embed_class": True}
    mean, std = _statistics(model)
    size = [model.in_chans, *arguments["img_size"]]
    return state, {
        "architecture": "vit_base_patch16_224",
        "num_classes": 0,
        "num_features": model.embed_dim,
        "global_pool": "token",
        "model_args": arguments,
        "pretrained_cfg": {
            "input_size": size,
            "mean": [mean] * model.in_chans,
            "std": [std] * model.in_chans,
            "num_classes": 0,
            "fixed_input_size": True,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        },
    }


def _square(model: VisionTransformer) -> int:
    height, width = model.grid_size
    if height != width:
        raise MisuseError(f"positions are made for a {height}x{width} grid; transformers takes square ones only")
    return height * model.patch_size


def _hf_config(model: VisionTransformer) -> dict[str, Any]:
    """What ViTConfig and ViTMAEConfig share."""
    if model.reg_token is not None:
        raise MisuseError("transformers' ViT has no place for register tokens; export to timm")
    block = _first(model.blocks)
    return {
        "hidden_size": model.embed_dim,
        "num_hidden_layers": model.depth,
        "num_attention_heads": block.attn.num_heads,
        "intermediate_size": block.mlp.fc1.out_features,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "layer_norm_eps": _EPS,
        "image_size": _square(model),
        "patch_size": model.patch_size,
        "num_channels": model.in_chans,
        "qkv_bias": block.attn.qkv.bias is not None,
        "torch_dtype": "float32",
    }


def _hf_vit(model: VisionTransformer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    config = {"architectures": ["ViTModel"], "model_type": "vit", **_hf_config(model)}
    return to_hf_vit(model.state_dict(), model.depth), config


def _hf_vitmae(model: MaskedAutoencoder) -> tuple[dict[str, Tensor], dict[str, Any]]:
    block = _first(model.decoder_blocks)
    config = {
        "architectures": ["ViTMAEForPreTraining"],
        "model_type": "vit_mae",
        **_hf_config(model.encoder),
        "decoder_hidden_size": model.decoder_embed.out_features,
        "decoder_num_hidden_layers": len(model.decoder_blocks),
        "decoder_num_attention_heads": block.attn.num_heads,
        "decoder_intermediate_size": block.mlp.fc1.out_features,
    }
    depths = (model.encoder.depth, len(model.decoder_blocks))
    return to_hf_vitmae(model.state_dict(), model.decoder_positions, depths), config


def _preprocessing(model: VisionTransformer | MaskedAutoencoder) -> Mapping[str, Any]:
    encoder = model.encoder if isinstance(model, MaskedAutoencoder) else model
    mean, std = _statistics(model)
    side = _square(encoder)
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": side, "width": side},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [mean] * encoder.in_chans,
        "image_std": [std] * encoder.in_chans,
    }


def _card(target: Target, source: Path) -> str:
    """A card with the licence that the source states, or the words that it states none."""
    stated = read_licence(source)
    front = [f"library_name: {'timm' if target == 'timm' else 'transformers'}", "tags: [vasomim]"]
    front += [f"license: {json.dumps(stated[0])}"] if stated else []
    licence = (
        f"The source states the licence {stated[0]} ({stated[1]})."
        if stated
        else "The source states no licence; find it out before you pass these weights on."
    )
    name = f"{source.resolve().parent.name}/{source.name}"
    body = f"# Converted by vasomim for {target}\n\nMade from {name}. {licence}\nResearch use, not a medical device.\n"
    return "\n".join(["---", *front, "---", "", body])
