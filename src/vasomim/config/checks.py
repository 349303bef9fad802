"""Rules that settings must keep: each is a pair of whether it holds and what to say where it does not."""

from __future__ import annotations

from difflib import get_close_matches
from fnmatch import fnmatchcase

from vasomim.errors import ConfigError
from vasomim.models.sizes import VITS, bare_name, model_names


def check(*rules: tuple[bool, str]) -> None:
    """Raises one ConfigError with a line for each broken rule, so that all mistakes are reported together."""
    broken = [message for holds, message in rules if not holds]
    if broken:
        raise ConfigError("\n".join(broken))


def share(name: str, value: float) -> tuple[bool, str]:
    """A rule: `value` lies in [0, 1]."""
    return 0 <= value <= 1, f"{name} must lie in [0, 1], got {value}"


def at_least(name: str, value: float | None, low: float) -> tuple[bool, str]:
    """A rule: `value`, where there is one, is no smaller than `low`."""
    return value is None or value >= low, f"{name} must be at least {low}, got {value}"


def above_zero(name: str, value: float | None) -> tuple[bool, str]:
    """A rule: `value`, where there is one, is positive."""
    return value is None or value > 0, f"{name} must be above 0, got {value}"


def whole_patches(img_size: int, model: str, stride: int = 1) -> tuple[bool, str]:
    """A rule: the ViT of `model`, if it has one, sees `img_size` / `stride` pixels as whole patches."""
    patch = VITS.get(bare_name(model), {}).get("patch_size", 1)
    step = patch * stride
    below = img_size // step * step
    near = f"{below} or {below + step}" if below else str(step)
    advice = f"img_size must be a multiple of {step} px, the patches of {model}, got {img_size}; take {near}"
    return img_size // stride % patch == 0, advice


def known_model(name: str, *patterns: str) -> tuple[bool, str]:
    """A rule: `name` is one of our models and fits one of the shell patterns."""
    fitting = [known for known in model_names() if any(fnmatchcase(known, pattern) for pattern in patterns)]
    near = get_close_matches(name, fitting, 1)
    advice = f"did you mean {near[0]}?" if near else "choose one of " + ", ".join(fitting)
    return name in fitting, f"model must be one of {' or '.join(patterns)}, got {name}; {advice}"
