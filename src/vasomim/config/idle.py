"""Which settings have no effect in a run: said aloud, so that nobody believes to have changed something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import reduce
from typing import Any, get_args

from vasomim.config.finetuning import FinetuneConfig
from vasomim.config.methods import Method
from vasomim.config.pretraining import PretrainConfig
from vasomim.config.settings import SegmentorConfig

_HIDING = ("vasomim", "simmim", "amt", "hpm", "deblur", "crossmae")
_DECODING = ("vasomim", "amt", "hpm", "deblur", "crossmae")
USED_BY: Mapping[str, tuple[str, ...]] = {
    "masking.mask_ratio": _HIDING,
    "masking.guidance": ("vasomim",),
    "masking.eta": ("vasomim",),
    "masking.guided_start": ("vasomim", "hpm"),
    "masking.guided_end": ("vasomim", "hpm"),
    "norm_pix_loss": _DECODING,
    "decoder_embed_dim": _DECODING,
    "decoder_depth": _DECODING,
    "consistency_weight": ("vasomim",),
    "channels": ("vasomim",),
    "segmentor": ("vasomim",),
    "prototypes": ("vasomim",),
    "optim.ema": (*_HIDING, "mocov3"),  # dino exports its teacher, which is an average already
    **{name: (name,) for name in ("simmim", "amt", "hpm", "deblur", "crossmae", "mocov3", "dino")},
}
"""Settings and sections that not every method uses, and the methods that do."""


def idle_settings(config: SegmentorConfig | PretrainConfig | FinetuneConfig) -> list[str]:
    """Settings of a training that were changed and have no effect, and why, one a line."""
    if isinstance(config, PretrainConfig):
        own = _idle_in_pretraining(config)
    else:
        own = _idle_in_finetuning(config) if isinstance(config, FinetuneConfig) else []
    extracts = not isinstance(config, FinetuneConfig)
    reasons: dict[str, list[str]] = {
        "vessels are given": ["extraction"] if extracts and config.vessels is not None else [],
        "schedule is `polynomial`": (["optim.warmup", "optim.min_lr"] if config.optim.schedule == "polynomial" else []),
        "optimizer is `adam`": ["optim.weight_decay"] if config.optim.optimizer == "adam" else [],
    }
    return own + _said(config, reasons)


def _idle_in_pretraining(config: PretrainConfig) -> list[str]:
    """What the method never reads.

    A method that is not ours (see `vasomim.build.pretraining.METHODS`) may read anything: nothing is said then.
    """
    method = config.method
    if method not in get_args(Method):
        return []
    changed = _changed(config, [name for name, users in USED_BY.items() if method not in users])
    lines = [f"{name} has no effect: method is {method}" for name in changed]
    return lines + (_idle_in_vasomim(config) if method == "vasomim" else [])


def _idle_in_vasomim(config: PretrainConfig) -> list[str]:
    guidance, weight = config.masking.guidance, config.consistency_weight
    reasons: dict[str, list[str]] = {
        "guidance is not `co` and consistency_weight is 0": ["segmentor"] if guidance != "co" and not weight else [],
        "guidance is not `co`": [] if guidance == "co" else ["masking.eta"],
        "guidance is `none`": ["masking.guided_start", "masking.guided_end"] if guidance == "none" else [],
        "prototypes.weight is 0": [] if config.prototypes.weight else ["prototypes.temperature"],
    }
    return _said(config, reasons)


def _idle_in_finetuning(config: FinetuneConfig) -> list[str]:
    convolutional = not config.model.startswith("vit_")
    reasons: dict[str, list[str]] = {
        f"{config.model} has no ViT": ["drop_path_rate", "optim.layer_decay"] if convolutional else [],
        "inference is `tile`": ["frame_size"] if config.inference == "tile" else [],
        "there are neither tree.unlabelled nor tree.drawn": (
            [] if config.tree.unlabelled or config.tree.drawn else ["tree.share"]
        ),
        "the masks are extracted": ["rasteriser"] if config.vessels and not config.val else [],
        "val is given": ["holdout"] if config.val else [],
    }
    return _said(config, reasons)


def _said(config: object, reasons: Mapping[str, Sequence[str]]) -> list[str]:
    """A line for each of the settings that was changed although there is a reason why it has no effect."""
    return [f"{name} has no effect: {why}" for why, names in reasons.items() for name in _changed(config, names)]


def _changed(config: object, names: Sequence[str]) -> list[str]:
    """Those of the settings that differ from their defaults; of a section, the settings in it."""
    defaults = type(config)()
    found: list[str] = []
    for name in names:
        value = _value(config, name)
        inside = [f"{name}.{item.name}" for item in fields(value)] if is_dataclass(value) else [name]
        found.extend(part for part in inside if _value(config, part) != _value(defaults, part))
    return found


def _value(config: object, path: str) -> Any:
    return reduce(getattr, path.split("."), config)
