"""Model cards: what a weight file is, made from the run that made it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vasomim.config import FinetuneConfig, PretrainConfig, SegmentorConfig, dump_config

Settings = SegmentorConfig | PretrainConfig | FinetuneConfig

USES = {
    "encoder": "Start of fine-tuning: `vasomim finetune LABELLED --init FOLDER`. Keys are timm's.",
    "mae": "The whole autoencoder, to go on pre-training from: `vasomim pretrain FRAMES --init FOLDER`.",
    "segmentor": "Frozen guide of `vasomim pretrain --segmentor FOLDER`. It imitates extracted anatomy, not an expert.",
    "segmentation": "`vasomim predict FRAMES --weights FOLDER`, `vasomim evaluate LABELLED --weights FOLDER`.",
}


def model_card(described: Mapping[str, Any], settings: Settings, facts: Mapping[str, Any]) -> str:
    """The card of an export, as Markdown.

    Args:
        described: what config.json says: kind, model, held_out metrics.
        settings: the resolved settings of the run.
        facts: what run.json says of data, seed and versions.
    """
    data = facts.get("facts", {}).get("data", {})
    scores = [f"- {name}: {value:.4f}" for name, value in described.get("held_out", {}).items()]
    return "\n".join(
        [
            f"# {described['model']} ({described['kind']})",
            "",
            "Research use, not a medical device.",
            "",
            "## Use",
            USES[described["kind"]],
            "",
            "## Data",
            f"{data.get('frames', 'unknown')} frames, fingerprint {str(data.get('sha256', 'none'))[:16]}. "
            "Name the data sets, their licences and attributions here before you pass these weights on.",
            "",
            "## Held-out frames of the training data",
            *(scores or ["none held out"]),
            "These are no test results; see `vasomim evaluate`.",
            "",
            "## Recipe",
            f"seed {facts.get('facts', {}).get('seed')}, versions {facts.get('versions')}",
            "```yaml",
            dump_config(without_places(settings)).rstrip(),
            "```",
            "",
        ]
    )


def without_places(settings: Settings) -> Settings:
    """The settings with every path cut to its last part: cards travel, and paths may name people and places."""
    changes: dict[str, Any] = {}
    for item in dataclasses.fields(settings):
        value = getattr(settings, item.name)
        if isinstance(value, Path):
            changes[item.name] = Path(value.name)
        elif item.name in ("inputs", "val"):
            changes[item.name] = tuple(Path(path.name) for path in value)
        elif item.name == "tree":
            changes[item.name] = dataclasses.replace(
                value,
                unlabelled=tuple(Path(path.name) for path in value.unlabelled),
                drawn=tuple(Path(path.name) for path in value.drawn),
            )
        elif item.name == "init" and isinstance(value, str):
            changes[item.name] = Path(value).name
    return dataclasses.replace(settings, **changes)
