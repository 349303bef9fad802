"""What the audited data is, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from vasomim.data.audit.coco_checks import Annotations
from vasomim.data.audit.frame_checks import Seen
from vasomim.data.audit.layout import AuditSet


def summarise(seen: Sequence[Seen], annotations: Sequence[tuple[AuditSet, Annotations]]) -> dict[str, Any]:
    """Counts, sizes, grey values and labels of all frames and of each set, ready for JSON."""
    names = sorted({frame.home.name for frame, _ in seen})
    notes = {home.name: content for home, content in annotations}
    sets = {
        name or ".": _of_set([item for item in seen if item[0].home.name == name], notes.get(name)) for name in names
    }
    return {
        "frames": len(seen),
        "readable": sum(not look.error for _, look in seen),
        "patients": len({frame.patient for frame, _ in seen if frame.patient is not None}),
        "splits": dict(sorted(Counter(frame.split for frame, _ in seen if frame.split).items())),
        "sets": sets,
    }


def _of_set(seen: Sequence[Seen], annotations: Annotations | None) -> dict[str, Any]:
    looks = [look for _, look in seen if not look.error]
    shares = [look.mask.share for look in looks if look.mask and not look.mask.error]
    result: dict[str, Any] = {
        "frames": len(seen),
        "patients": len({frame.patient for frame, _ in seen if frame.patient is not None}),
        "sizes": _most_common(f"{look.shape[1]} x {look.shape[0]}" for look in looks),
        "bits": _most_common(look.bits for look in looks),
        "contents": _most_common(str(look.codec) for look in looks),
        "channels": _most_common(look.channels for look in looks),
    }
    if looks:
        percentiles = np.array([look.percentiles for look in looks]).mean(0)
        result["grey"] = {
            "mean": _mean([look.mean for look in looks]),
            "std": _mean([look.std for look in looks]),
            **{name: round(float(value), 4) for name, value in zip(("p01", "p50", "p99"), percentiles, strict=True)},
        }
    if shares:
        result["vessel_share"] = {"mean": _mean(shares), "min": round(min(shares), 4), "max": round(max(shares), 4)}
    if annotations:
        result["categories"] = dict(sorted(annotations.categories.items(), key=lambda item: -item[1]))
    return result


def _most_common(values: Any) -> dict[str, int]:
    """The ten most frequent values and how often each occurs."""
    return dict(Counter(values).most_common(10))


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 4)
