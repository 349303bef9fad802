"""Learning vessels in X-ray angiograms from few labels: anatomy-guided masked image modeling.

The public names below load on first use: `import vasomim` loads neither torch nor OpenCV.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from vasomim._version import __version__

if TYPE_CHECKING:
    from vasomim import losses, metrics, stats, synth
    from vasomim.inference.predictor import Predictor
    from vasomim.models.registry import create_model, list_models
    from vasomim.models.weights import load_encoder, save_pretrained
    from vasomim.ops.masking import guided_mask
    from vasomim.ops.vesselness import vesselness
    from vasomim.vessels import extract_vessels

__all__ = [
    "Predictor",
    "__version__",
    "create_model",
    "extract_vessels",
    "guided_mask",
    "list_models",
    "load_encoder",
    "losses",
    "metrics",
    "save_pretrained",
    "stats",
    "synth",
    "vesselness",
]

_HOMES = {
    "Predictor": "vasomim.inference.predictor",
    "create_model": "vasomim.models.registry",
    "extract_vessels": "vasomim.vessels",
    "guided_mask": "vasomim.ops.masking",
    "list_models": "vasomim.models.registry",
    "load_encoder": "vasomim.models.weights",
    "save_pretrained": "vasomim.models.weights",
    "vesselness": "vasomim.ops.vesselness",
}
"""Where each function or class is defined."""
_MODULES = ("losses", "metrics", "stats", "synth")
"""Modules that are public as they are."""


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(f"vasomim.{name}")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'vasomim' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
