"""Names of the models, known without torch. `vasomim.models.registry` builds them; a test holds the two lists equal."""

from __future__ import annotations

_VITS = (
    "vit_tiny_patch16",
    "vit_small_patch16",
    "vit_base_patch16",
    "vit_large_patch16",
    "vit_huge_patch14",
    "vit_test",
)
_CONVOLUTIONAL = ("unet_half", "unet_plain", "unet_test", "unext_s", "unext_test")
MODEL_NAMES: tuple[str, ...] = tuple(
    sorted([*_VITS, *(f"mae_{name}" for name in _VITS), *(f"{name}_unet" for name in _VITS), *_CONVOLUTIONAL])
)
