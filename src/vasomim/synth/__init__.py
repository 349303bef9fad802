"""Synthetic X-ray angiograms with exact masks. `generate` and its kin are loaded when first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vasomim.synth.angiogram import Angiogram, generate, render
    from vasomim.synth.cine import Cine, generate_cine
    from vasomim.synth.scene import Scene, sample_scene

__all__ = ["Angiogram", "Cine", "Scene", "generate", "generate_cine", "render", "sample_scene"]

_HOME = {
    "Angiogram": "angiogram",
    "Cine": "cine",
    "Scene": "scene",
    "generate": "angiogram",
    "generate_cine": "cine",
    "render": "angiogram",
    "sample_scene": "scene",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
