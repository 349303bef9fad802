"""Key layouts of Vision Transformers: which one a file has, and the way from each to timm's names, which are ours.

timm names parts `blocks.0.attn.qkv.weight`. Meta's MAE and DINO releases do likewise, with a few names of their own.
Hugging Face keeps query, key and value apart and calls the parts otherwise; transformers 5 renames them in memory and
writes the older names, except in the decoder of its ViTMAE, where it writes names that only itself can read: all three
are read here, and the older ones, which every version reads, are written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

Layout = Literal["timm", "mae", "dino", "hf-vit", "hf-vitmae", "hf-dinov2"]

WRAPPERS = (
    *("module.", "_orig_mod.", "model.", "net.", "backbone.", "student.", "teacher.", "base_encoder.", "base_model."),
    *("vit.", "dinov2.", "dinov2_with_registers."),
)
"""What data-parallel, compiled, self-supervised and Hugging Face wrappers put before a key."""

_BLOCK = r"(?:encoder\.layer|encoder\.layers|layers|layer)\.(\d+)\."
_RULES: tuple[tuple[str, str], ...] = (
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.mask_token$", "mask_token"),
    (r"^embeddings\.register_tokens$", "reg_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (rf"^{_BLOCK}(?=attention|layernorm|intermediate|output|norm\d|mlp|layer_scale)", r"blocks.\1."),
    (r"^decoder\.decoder_(?:layers|encoder\.layer)\.(\d+)\.", r"decoder_blocks.\1."),
    (r"^decoder\.(?=mask_token|decoder_)", ""),
    (r"^layernorm\.", "norm."),
    (r"(blocks\.\d+)\.attention\.attention\.(query|key|value)\.", r"\1.attn.\2."),
    (r"(blocks\.\d+)\.attention\.q_proj\.", r"\1.attn.query."),
    (r"(blocks\.\d+)\.attention\.k_proj\.", r"\1.attn.key."),
    (r"(blocks\.\d+)\.attention\.v_proj\.", r"\1.attn.value."),
    (r"(blocks\.\d+)\.attention\.(?:output\.dense|o_proj)\.", r"\1.attn.proj."),
    (r"(blocks\.\d+)\.intermediate\.dense\.", r"\1.mlp.fc1."),
    (r"(blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
    (r"(blocks\.\d+)\.layernorm_before\.", r"\1.norm1."),
    (r"(blocks\.\d+)\.layernorm_after\.", r"\1.norm2."),
    (r"(blocks\.\d+)\.layer_scale([12])\.lambda1$", r"\1.ls\2.gamma"),
    # Meta's DINOv2: its own word for registers, and blocks in chunks for sharded training.
    (r"^register_tokens$", "reg_token"),
    (r"^blocks\.\d+\.(\d+)\.", r"blocks.\1."),
)
_COMPILED = tuple((re.compile(pattern), replacement) for pattern, replacement in _RULES)
_JOINED = ("query", "key", "value")


@dataclass(frozen=True, slots=True)
class Translated:
    """A state dict with timm's names."""

    state: dict[str, Tensor]
    origins: dict[str, tuple[str, ...]]
    """Names in the file that a tensor was made from."""
    notes: dict[str, str] = field(default_factory=dict)
    """What was done to a tensor beyond renaming it."""


def unwrapped(name: str) -> str:
    """A key without the names of the wrappers around the model."""
    while True:
        inner = next((name.removeprefix(wrapper) for wrapper in WRAPPERS if name.startswith(wrapper)), name)
        if inner == name:
            return name
        name = inner


def layout_of(names: Iterable[str]) -> Layout:
    """The layout that keys are written in; timm's where nothing speaks for another."""
    bare = [unwrapped(name) for name in names]
    if any(name.startswith("embeddings.") for name in bare):
        if any("layer_scale1." in name for name in bare):
            return "hf-dinov2"
        return "hf-vitmae" if any(name.startswith("decoder.decoder_") for name in bare) else "hf-vit"
    if any(name.removeprefix("encoder.").startswith("decoder_embed.") for name in bare):
        return "mae"
    has_own_words = any(re.match(r"register_tokens$|blocks\.\d+\.\d+\.", name) for name in bare)
    scaled = "mask_token" in bare and any(name.endswith(".ls1.gamma") for name in bare)
    return "dino" if has_own_words or scaled else "timm"


def timm_name(name: str) -> str:
    """A key of any layout under timm's name; query, key and value stay apart."""
    name = unwrapped(name)
    for pattern, replacement in _COMPILED:
        name = pattern.sub(replacement, name)
    return name


def to_timm(state: Mapping[str, Tensor]) -> Translated:
    """Rename the tensors of any layout, join query, key and value, and multiply layer scales in.

    Where two keys mean the same tensor, a teacher's wins over a student's, else the first.
    """
    renamed: dict[str, Tensor] = {}
    origins: dict[str, tuple[str, ...]] = {}
    for key in sorted(state, key=lambda key: "student." in key):
        name = timm_name(key)
        # A second tensor of one name keeps its own, so that the report can say that it was left.
        name = key if name in renamed else name
        renamed[name], origins[name] = state[key], (key,)
    translated = Translated(renamed, origins)
    _join_attention(translated)
    _fold_layer_scale(translated)
    return translated


def _join_attention(translated: Translated) -> None:
    """Put query, key and value of each block into one tensor, in that order, in place."""
    state, origins = translated.state, translated.origins
    for name in [name for name in state if ".attn.query." in name]:
        stem, part = name.split(".attn.query.")
        parts = [f"{stem}.attn.{word}.{part}" for word in _JOINED]
        if not all(other in state and state[other].shape == state[name].shape for other in parts):
            continue
        joined = f"{stem}.attn.qkv.{part}"
        origins[joined] = tuple(key for other in parts for key in origins.pop(other))
        state[joined] = torch.cat([state.pop(other) for other in parts])
        translated.notes[joined] = "query, key and value joined"


def _fold_layer_scale(translated: Translated) -> None:
    """Multiply LayerScale factors (CaiT, DINOv2) into the projection before them, in place; exact but for rounding."""
    state, origins = translated.state, translated.origins
    for key in [key for key in state if key.endswith((".ls1.gamma", ".ls2.gamma"))]:
        stem, _, which = key.removesuffix(".gamma").rpartition(".")
        layer = f"{stem}.attn.proj" if which == "ls1" else f"{stem}.mlp.fc2"
        names = [f"{layer}.weight", f"{layer}.bias"]
        gamma = state[key]
        if any(name not in state or state[name].shape[:1] != gamma.shape for name in names):
            continue
        del state[key]
        scale_keys = origins.pop(key)
        for name in names:
            value = state[name]
            state[name] = value.float() * gamma.float().reshape(-1, *[1] * (value.ndim - 1))
            origins[name] += scale_keys
            translated.notes[name] = "layer scale multiplied in"


def hf_block(prefix: str, state: Mapping[str, Tensor], target: str) -> dict[str, Tensor]:
    """One of our blocks in Hugging Face's names: tensors below `prefix` of `state`, named below `target`."""
    names = {
        "attn.proj": "attention.output.dense",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
    }
    written: dict[str, Tensor] = {}
    for name, value in state.items():
        if not name.startswith(prefix):
            continue
        part, _, kind = name.removeprefix(prefix).rpartition(".")
        if part == "attn.qkv":
            for word, third in zip(_JOINED, value.chunk(3), strict=True):
                written[f"{target}attention.attention.{word}.{kind}"] = third
        else:
            written[f"{target}{names[part]}.{kind}"] = value
    return written


def to_hf_vit(state: Mapping[str, Tensor], depth: int) -> dict[str, Tensor]:
    """The tensors of our ViT (without registers or head) in the names of transformers' ViTModel."""
    written = {
        "embeddings.cls_token": state["cls_token"],
        "embeddings.position_embeddings": state["pos_embed"],
        "embeddings.patch_embeddings.projection.weight": state["patch_embed.proj.weight"],
        "embeddings.patch_embeddings.projection.bias": state["patch_embed.proj.bias"],
        "layernorm.weight": state["norm.weight"],
        "layernorm.bias": state["norm.bias"],
    }
    for number in range(depth):
        written |= hf_block(f"blocks.{number}.", state, f"encoder.layer.{number}.")
    return written


def to_hf_vitmae(state: Mapping[str, Tensor], positions: Tensor, depths: tuple[int, int]) -> dict[str, Tensor]:
    """The tensors of our masked autoencoder in the names of transformers' ViTMAEForPreTraining.

    Args:
        state: State dict of the autoencoder; its encoder lies below `encoder.`.
        positions: Fixed positions of the decoder, (1, L, E); its class token has none, which is written as zeros.
        depths: Blocks of encoder and decoder.
    """
    encoder = {k.removeprefix("encoder."): v for k, v in state.items() if k.startswith("encoder.")}
    written = {f"vit.{name}": value for name, value in to_hf_vit(encoder, depths[0]).items()}
    written["decoder.mask_token"] = state["mask_token"]
    written["decoder.decoder_pos_embed"] = torch.cat([torch.zeros_like(positions[:, :1]), positions], dim=1)
    for part in ("decoder_embed", "decoder_norm", "decoder_pred"):
        written |= {f"decoder.{part}.{kind}": state[f"{part}.{kind}"] for kind in ("weight", "bias")}
    for number in range(depths[1]):
        written |= hf_block(f"decoder_blocks.{number}.", state, f"decoder.decoder_layers.{number}.")
    return written
