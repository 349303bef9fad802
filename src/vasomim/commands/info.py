"""`vasomim info`: what is installed and at hand. Loads torch only when asked for devices."""

from __future__ import annotations

import json as json_format
import os
import platform
import re
from importlib import metadata
from typing import Any

from vasomim._version import __version__
from vasomim.config.loading import recipe_names
from vasomim.config.settings import InfoConfig
from vasomim.models.shipped import SHIPPED
from vasomim.models.sizes import model_names


def run(config: InfoConfig, *, json: bool = False, verbose: bool = False) -> int:  # noqa: ARG001
    """Prints versions, processor, models and recipes; with `devices` also what torch can compute on."""
    facts = collect(devices=config.devices)
    print(json_format.dumps(facts, indent=2) if json else as_text(facts))
    return 0


def collect(*, devices: bool = False) -> dict[str, Any]:
    """The facts, ready for JSON."""
    facts: dict[str, Any] = {
        "vasomim": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "packages": {name: installed(name) for name in required()},
        "weights": {name: found.about for name, found in SHIPPED.items()},
        "models": model_names(),
        "recipes": recipe_names(),
    }
    if devices:
        facts["devices"] = torch_devices()
    return facts


def required() -> list[str]:
    """Names of the packages that vasomim needs or can use, those for development left out."""
    try:
        lines = metadata.requires("vasomim") or []
    except metadata.PackageNotFoundError:  # run from a source tree that is not installed
        return ["torch", "numpy"]
    names = [
        re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in lines if not re.search(r"extra\s*==\s*.dev", line)
    ]
    return list(dict.fromkeys(names))


def installed(name: str) -> str | None:
    """Version of an installed package, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def torch_devices() -> list[dict[str, Any]]:
    """The devices torch can use, the processor first; memory in GiB."""
    import torch

    found: list[dict[str, Any]] = [{"device": "cpu", "name": platform.machine(), "threads": torch.get_num_threads()}]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        memory = round(properties.total_memory / 2**30, 1)
        found.append({"device": f"cuda:{index}", "name": properties.name, "memory_gib": memory})
    return found


def as_text(facts: dict[str, Any]) -> str:
    """The facts for people, one a line."""
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict):
            lines += [f"{name}:", *(f"  {key:<24} {item or 'not installed'}" for key, item in value.items())]
        elif isinstance(value, list):
            items = (" ".join(map(str, item.values())) if isinstance(item, dict) else str(item) for item in value)
            lines += [f"{name}:", *(f"  {item}" for item in items)]
        else:
            lines.append(f"{name:<26} {value}")
    if "devices" not in facts:
        lines.append("devices: run `vasomim info --devices` (loads torch)")
    return "\n".join(lines)
