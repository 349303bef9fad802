"""Which Vision Transformer a state dict holds, by names and shapes of its tensors; what ours cannot be is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vasomim.errors import CheckpointError
from vasomim.models.layouts import timm_name
from vasomim.models.sizes import VITS

_KNOWN_PARTS = re.compile(
    r"norm[12]\.(weight|bias)|attn\.(qkv|query|key|value|proj)\.(weight|bias)|mlp\.fc[12]\.(weight|bias)|ls[12]\.gamma"
)
_FOREIGN_PARTS = (
    (r"\bmlp\.(w12|w1|weights_in|fc1_g|gate_proj)\.", "SwiGLU perceptrons (as in DINOv2 giant)"),
    (r"relative_position|rel_pos", "relative positions (as in BEiT and Swin)"),
    (r"rope", "rotary positions (as in DINOv3 and EVA)"),
    (r"\b[qk]_norm\.", "normalised queries and keys"),
    (r"\bgamma_[12]$", "layer scales under BEiT's names"),
)
"""What blocks of other families have and ours lack; loading without them would give another function."""


@dataclass(frozen=True, slots=True)
class EncoderFacts:
    """The measures of a ViT."""

    embed_dim: int
    depth: int
    patch_size: int
    in_chans: int
    grid: tuple[int, int]
    """Patches down and across that the positions are made for."""
    mlp_ratio: float
    qkv_bias: bool
    reg_tokens: int
    num_heads: int | None
    """No tensor shows it: from a config beside the file, else that of the literature for this size."""
    layer_scale: bool
    """LayerScale factors are in the file; they are multiplied into the weights."""
    model: str | None
    """Our bare ViT of this width and depth."""

    @property
    def img_size(self) -> tuple[int, int]:
        """Height and width in pixels that the positions are made for."""
        return self.grid[0] * self.patch_size, self.grid[1] * self.patch_size

    def arguments(self) -> dict[str, Any]:
        """Arguments for `create_model`, beside name, image size and channels, that differ from its defaults."""
        own = VITS[self.model] if self.model else {}
        asked: dict[str, Any] = {"patch_size": self.patch_size}
        if self.num_heads is not None and self.num_heads != own.get("num_heads"):
            asked["num_heads"] = self.num_heads
        if self.mlp_ratio != 4:
            asked["mlp_ratio"] = self.mlp_ratio
        if not self.qkv_bias:
            asked["qkv_bias"] = False
        if self.reg_tokens:
            asked["reg_tokens"] = self.reg_tokens
        return asked


def encoder_parts(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Shapes of the encoder's tensors by timm's names, of a state dict in any layout, MAE or segmentation model."""
    shapes: dict[str, tuple[int, ...]] = {}
    for key in sorted(state, key=lambda key: "student." in key):
        name = timm_name(key).removeprefix("encoder.")
        if name.startswith(("blocks.", "patch_embed.", "norm", "fc_norm", "rope")) or name in _TOKENS:
            shapes.setdefault(name, tuple(state[key].shape))
    return shapes


_TOKENS = ("cls_token", "pos_embed", "reg_token")


def check_blocks(shapes: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Refuse a ViT whose blocks have parts that ours lack.

    Args:
        shapes: Of its tensors, by timm's names.
        where: The file, for the message.

    Raises:
        CheckpointError: naming the family, where it is known.
    """
    for name in shapes:
        reason = next((reason for pattern, reason in _FOREIGN_PARTS if re.search(pattern, name)), None)
        if reason:
            raise CheckpointError(f"{where} has {reason}: {name}; our ViT has none, choose weights of a plain ViT")
        if name.startswith("blocks.") and not _KNOWN_PARTS.fullmatch(name.split(".", 2)[-1]):
            raise CheckpointError(f"{where} has blocks with parts that our ViT lacks: {name}; choose a plain ViT")
        if name.startswith(("norm_pre.", "patch_embed.backbone.", "patch_embed.norm.")):
            raise CheckpointError(f"{where} has {name}, which our ViT lacks (CLIP, hybrid); choose a plain ViT")
    for name, shape in shapes.items():  # timm packs both halves of SwiGLU into fc1
        if name.endswith(".mlp.fc1.weight") and shapes.get(name.replace("fc1", "fc2")) not in (None, shape[::-1]):
            raise CheckpointError(f"{where} has {_FOREIGN_PARTS[0][1]}: {name} is {shape}; choose another size")


def encoder_facts(state: Mapping[str, Tensor], config: Mapping[str, Any], where: str) -> EncoderFacts:
    """The ViT that a state dict of any layout holds.

    Args:
        state: Tensors by name.
        config: A config.json of Hugging Face beside the file, for the number of heads; may be empty.
        where: The file, for messages.

    Raises:
        CheckpointError: if it holds no ViT, not a whole one, or one that ours cannot stand in for.
    """
    shapes = encoder_parts(state)
    found = f"its first keys are {', '.join(list(state)[:5])}"
    kernel = shapes.get("patch_embed.proj.weight", ())
    if len(kernel) != 4 or kernel[2] != kernel[3] or not min(kernel):
        raise CheckpointError(f"{where} holds no ViT (no square patch_embed.proj.weight); {found}")
    check_blocks(shapes, where)
    numbers = {int(name.split(".")[1]) for name in shapes if re.match(r"blocks\.\d+\.", name)}
    if numbers != set(range(len(numbers))) or not numbers:
        raise CheckpointError(f"{where} holds a ViT with blocks {sorted(numbers)[:9]}: some are missing; {found}")
    width, depth = kernel[0], len(numbers)
    hidden = shapes.get("blocks.0.mlp.fc1.weight", ())
    if len(hidden) != 2 or hidden[1] != width:
        raise CheckpointError(f"{where}: blocks.0.mlp.fc1.weight is {hidden}, not (hidden, {width}); it is damaged")
    registers = shapes.get("reg_token", (1, 0, width))
    model = next((n for n, own in VITS.items() if (own["embed_dim"], own["depth"]) == (width, depth)), None)
    return EncoderFacts(
        embed_dim=width,
        depth=depth,
        patch_size=kernel[-1],
        in_chans=kernel[1],
        grid=_grid(shapes, where),
        mlp_ratio=hidden[0] / width,
        qkv_bias=any(f"blocks.0.attn.{part}.bias" in shapes for part in ("qkv", "query")),
        reg_tokens=registers[1] if len(registers) == 3 else 0,
        num_heads=_heads(config, width, model),
        layer_scale="blocks.0.ls1.gamma" in shapes,
        model=model,
    )


def _grid(shapes: Mapping[str, tuple[int, ...]], where: str) -> tuple[int, int]:
    """The square grid that the positions belong to, with or without one for the class token."""
    positions = shapes.get("pos_embed")
    if positions is None:
        raise CheckpointError(f"{where} has no position embeddings (rotary ones, perhaps), which our ViT needs")
    grid = square_grid(positions)
    if grid is None:
        raise CheckpointError(f"{where}: positions of shape {positions} belong to no square grid")
    return grid[0], grid[0]


def square_grid(shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Side of the grid and number of prefix tokens of positions (1, N, D); None where no square fits."""
    count = shape[1] if len(shape) == 3 else 0
    for prefix in (1, 0):
        side = math.isqrt(max(count - prefix, 0))
        if side and side * side == count - prefix:
            return side, prefix
    return None


def decoder_measures(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, int] | None:
    """Width, blocks and heads of a masked autoencoder's decoder, as arguments for `create_model`; None without one.

    No tensor shows the heads: a config.json beside the file says them, else they are MAE's 16, or as many as divide.
    """
    shapes = {timm_name(key): tuple(value.shape) for key, value in state.items()}
    embed = shapes.get("decoder_embed.weight", ())
    if len(embed) != 2:
        return None
    width = embed[0]
    depth = len({name.split(".")[1] for name in shapes if name.startswith("decoder_blocks.")})
    stated = config.get("decoder_num_attention_heads")
    heads = stated if isinstance(stated, int) and stated > 0 and width % stated == 0 else math.gcd(width, 16)
    return {"decoder_embed_dim": width, "decoder_depth": depth, "decoder_num_heads": heads}


def _heads(config: Mapping[str, Any], width: int, model: str | None) -> int | None:
    stated = config.get("num_attention_heads")
    if isinstance(stated, int) and stated > 0 and width % stated == 0:
        return stated
    return VITS[model]["num_heads"] if model else None
