"""Names of the models and the sizes behind them, known without torch; `registry` builds what is named here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vasomim.errors import MisuseError

VITS: dict[str, dict[str, int]] = {
    "vit_tiny_patch16": {"patch_size": 16, "embed_dim": 192, "depth": 12, "num_heads": 3},
    "vit_small_patch16": {"patch_size": 16, "embed_dim": 384, "depth": 12, "num_heads": 6},
    "vit_base_patch16": {"patch_size": 16, "embed_dim": 768, "depth": 12, "num_heads": 12},
    "vit_large_patch16": {"patch_size": 16, "embed_dim": 1024, "depth": 24, "num_heads": 16},
    "vit_huge_patch14": {"patch_size": 14, "embed_dim": 1280, "depth": 32, "num_heads": 16},
    "vit_test": {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2},
}
"""Bare encoders; names and sizes of the literature, and those of `registry.register_vit`."""

DECODERS: dict[str, dict[str, int]] = {
    # The published 512 x 8 decoder costs ten times a tiny encoder; from base upwards it is the published one.
    "vit_tiny_patch16": {"decoder_embed_dim": 192, "decoder_depth": 4, "decoder_num_heads": 6},
    "vit_small_patch16": {"decoder_embed_dim": 256, "decoder_depth": 4, "decoder_num_heads": 8},
    "vit_base_patch16": {"decoder_embed_dim": 512, "decoder_depth": 8, "decoder_num_heads": 16},
    "vit_large_patch16": {"decoder_embed_dim": 512, "decoder_depth": 8, "decoder_num_heads": 16},
    "vit_huge_patch14": {"decoder_embed_dim": 512, "decoder_depth": 8, "decoder_num_heads": 16},
    "vit_test": {"decoder_embed_dim": 32, "decoder_depth": 1, "decoder_num_heads": 2},
}
"""Size of the decoder that goes with each encoder."""

CONVOLUTIONAL: Final = ("unet_half", "unet_plain", "unet_test", "unext_s", "unext_test")
_LITERATURE: Final = tuple(name for name in VITS if name != "vit_test")


def model_names() -> list[str]:
    """Every model that `create_model` makes, sorted: encoders, what is built around them, convolutional networks."""
    around = [name for vit in VITS for name in (vit, f"mae_{vit}", f"{vit}_unet")]
    return sorted([*around, *CONVOLUTIONAL])


def bare_name(name: str) -> str:
    """The encoder inside a model: mae_vit_x and vit_x_unet -> vit_x; other names stay as they are."""
    return name.removeprefix("mae_").removesuffix("_unet")


def nearest_decoder(embed_dim: int) -> dict[str, int]:
    """The decoder of the encoder of the literature that is nearest in width."""
    return dict(DECODERS[min(_LITERATURE, key=lambda name: abs(VITS[name]["embed_dim"] - embed_dim))])


def add_vit(name: str, sizes: Mapping[str, int], decoder: Mapping[str, int] | None) -> None:
    """Make a further encoder known, for `registry.register_vit`, which says what it takes.

    Raises:
        MisuseError: as there.
    """
    if not name.startswith("vit_") or name.endswith("_unet") or name in VITS:
        raise MisuseError(f"got the name {name!r}; need a new one of the form vit_*, which its models are named after")
    own = dict(nearest_decoder(sizes.get("embed_dim", 0)) if decoder is None else decoder)
    for given, wanted in ((sizes, VITS["vit_test"]), (own, DECODERS["vit_test"])):
        _check_measures(name, given, tuple(wanted))
    VITS[name], DECODERS[name] = dict(sizes), own


def _check_measures(name: str, given: Mapping[str, int], wanted: tuple[str, ...]) -> None:
    """All of them and no others, each a positive whole number."""
    if set(given) != set(wanted) or not all(isinstance(value, int) and value > 0 for value in given.values()):
        raise MisuseError(f"{name}: got {dict(given)}; need {', '.join(wanted)}, each a whole number above 0")
    *_, width, _, heads = wanted
    if given[width] % given[heads] or given[width] % 4:
        raise MisuseError(f"{name}: {width}={given[width]} must be a multiple of 4 and of {heads}={given[heads]}")
