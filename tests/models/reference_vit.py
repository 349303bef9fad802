"""ViTs written out by hand from state dicts in the key layouts of others, to compare ours with. No library needed."""

from __future__ import annotations

import torch
import torch.nn.functional as F

WIDTH, HEADS, DEPTH, PATCH, SIDE = 32, 2, 2, 8, 32
"""Measures of `vit_test` at 32 px: a 4 x 4 grid."""


def draw(shapes, seed=0):
    """Random tensors of the given shapes; norm weights about 1, so that nothing vanishes."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator) * 0.2 + (1.0 if "norm" in name and "weight" in name else 0.0)
        for name, shape in shapes.items()
    }


def hf_state(*, prefix="", dino=False, registers=0, channels=3, memory=False, seed=0):
    """Tensors under the names of transformers' ViT or DINOv2: as in files, or as transformers 5 has them."""
    w, hidden = WIDTH, 4 * WIDTH
    shapes = {
        "embeddings.cls_token": (1, 1, w),
        "embeddings.position_embeddings": (1, 17, w),
        "embeddings.patch_embeddings.projection.weight": (w, channels, PATCH, PATCH),
        "embeddings.patch_embeddings.projection.bias": (w,),
        "layernorm.weight": (w,),
        "layernorm.bias": (w,),
    }
    if registers:
        shapes["embeddings.register_tokens"] = (1, registers, w)
    if dino:
        shapes["embeddings.mask_token"] = (1, w)
    for i in range(DEPTH):
        block = f"layers.{i}." if memory and not dino else f"encoder.layer.{i}."
        names = hf_block_names(dino=dino, memory=memory)
        sizes = {"q": (w, w), "k": (w, w), "v": (w, w), "o": (w, w), "fc1": (hidden, w), "fc2": (w, hidden)}
        for part, shape in sizes.items():
            shapes |= {f"{block}{names[part]}.weight": shape, f"{block}{names[part]}.bias": shape[:1]}
        for part in ("n1", "n2"):
            shapes |= {f"{block}{names[part]}.weight": (w,), f"{block}{names[part]}.bias": (w,)}
        if dino:
            shapes |= {f"{block}layer_scale1.lambda1": (w,), f"{block}layer_scale2.lambda1": (w,)}
    return {prefix + name: value for name, value in draw(shapes, seed).items()}


def hf_block_names(*, dino, memory):
    """Names of the parts of a block below it."""
    attention = (
        {"q": "attention.q_proj", "k": "attention.k_proj", "v": "attention.v_proj", "o": "attention.o_proj"}
        if memory
        else {
            "q": "attention.attention.query",
            "k": "attention.attention.key",
            "v": "attention.attention.value",
            "o": "attention.output.dense",
        }
    )
    if dino:
        rest = {"fc1": "mlp.fc1", "fc2": "mlp.fc2", "n1": "norm1", "n2": "norm2"}
    else:
        rest = {"fc1": "intermediate.dense", "fc2": "output.dense", "n1": "layernorm_before", "n2": "layernorm_after"}
        if memory:
            rest |= {"fc1": "mlp.fc1", "fc2": "mlp.fc2"}
    return attention | rest


def hf_forward(state, images, *, dino=False, memory=False):
    """Normed tokens of such a model, class token first, registers taken out: (B, C, H, W) -> (B, 1 + L, D)."""
    kernel, bias = (state[f"embeddings.patch_embeddings.projection.{kind}"] for kind in ("weight", "bias"))
    patches = F.conv2d(images, kernel, bias, stride=kernel.shape[-1]).flatten(2).transpose(1, 2)
    x = torch.cat([state["embeddings.cls_token"].expand(len(images), -1, -1), patches], 1)
    x = x + state["embeddings.position_embeddings"]
    registers = state.get("embeddings.register_tokens")
    if registers is not None:
        x = torch.cat([x[:, :1], registers.expand(len(images), -1, -1), x[:, 1:]], 1)
    names = hf_block_names(dino=dino, memory=memory)
    for i in range(DEPTH):
        block = f"layers.{i}." if memory and not dino else f"encoder.layer.{i}."
        part = {
            short: (state[f"{block}{name}.weight"], state.get(f"{block}{name}.bias")) for short, name in names.items()
        }
        scale1, scale2 = (state.get(f"{block}layer_scale{n}.lambda1", torch.ones(1)) for n in (1, 2))
        x = x + scale1 * attend(norm(x, part["n1"]), part)
        x = x + scale2 * F.linear(F.gelu(F.linear(norm(x, part["n2"]), *part["fc1"])), *part["fc2"])
    x = norm(x, (state["layernorm.weight"], state["layernorm.bias"]))
    return x if registers is None else torch.cat([x[:, :1], x[:, 1 + registers.shape[1] :]], 1)


def norm(x, affine):
    """LayerNorm written out."""
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * affine[0] + affine[1]


def attend(x, part):
    """Multi-head attention with query, key and value apart."""
    b, n, d = x.shape
    q, k, v = (F.linear(x, *part[name]).reshape(b, n, HEADS, d // HEADS).transpose(1, 2) for name in "qkv")
    weights = (q @ k.transpose(2, 3) / (d // HEADS) ** 0.5).softmax(-1)
    return F.linear((weights @ v).transpose(1, 2).reshape(b, n, d), *part["o"])


def meta_state(hf, *, chunked=False):
    """A DINOv2 state dict under the names of Meta's own release: query, key and value in one, ls1.gamma, registers."""
    named = {
        "cls_token": hf["embeddings.cls_token"],
        "pos_embed": hf["embeddings.position_embeddings"],
        "mask_token": hf["embeddings.mask_token"],
        "patch_embed.proj.weight": hf["embeddings.patch_embeddings.projection.weight"],
        "patch_embed.proj.bias": hf["embeddings.patch_embeddings.projection.bias"],
        "norm.weight": hf["layernorm.weight"],
        "norm.bias": hf["layernorm.bias"],
    }
    if "embeddings.register_tokens" in hf:
        named["register_tokens"] = hf["embeddings.register_tokens"]
    for i in range(DEPTH):
        old, new = f"encoder.layer.{i}.", f"blocks.0.{i}." if chunked else f"blocks.{i}."
        for kind in ("weight", "bias"):
            parts = [hf[f"{old}attention.attention.{word}.{kind}"] for word in ("query", "key", "value")]
            named[f"{new}attn.qkv.{kind}"] = torch.cat(parts)
            named[f"{new}attn.proj.{kind}"] = hf[f"{old}attention.output.dense.{kind}"]
            for part in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
                named[f"{new}{part}.{kind}"] = hf[f"{old}{part}.{kind}"]
        for number in (1, 2):
            named[f"{new}ls{number}.gamma"] = hf[f"{old}layer_scale{number}.lambda1"]
    return named


def images(channels=3, count=2, seed=9):
    """Random images of 32 px."""
    return torch.rand(count, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
