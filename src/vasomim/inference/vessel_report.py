"""What is measured in the masks of a run, frame by frame and for the whole; docs/hospital.md has the schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from vasomim._version import __version__
from vasomim.data.dicom.facts import RunFacts
from vasomim.ops.centreline import branch_points, centreline_length, end_points, prune_spurs
from vasomim.ops.skeleton import bounding_box, skeletonize, width_at
from vasomim.ops.temporal import flickering
from vasomim.types import BoolImage

FORMAT_VERSION = 1
PERCENTILES = (5, 25, 50, 75, 95)
PROFILE_EDGES = (0, 2, 4, 6, 8, 10, 12, 16, 20, 24, 32)
"""Vessel widths in pixels that part the width profile; the last class is open."""
_NOTES = {
    "calibrated": "in the plane of the object that the file's writer calibrated by",
    "isocentre": "in the plane through the isocentre, by the beam's geometry; vessels off that plane differ",
    "detector": "at the detector; vessels appear there 1.2 to 1.5 times as large as they are",
    "nominal": "as said by a capture or scan of unknown geometry",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class VesselMeasures:
    """The vessels of one mask, in pixels."""

    area: int
    """Vessel pixels."""
    length: float
    """Of all centrelines together."""
    branch_points: int
    end_points: int
    components: int
    """Pieces that do not touch."""
    widths: tuple[float, ...] | None
    """At `PERCENTILES` of the centreline, None where there is none."""
    profile: tuple[float, ...]
    """Centreline length by width, one value for each class of `PROFILE_EDGES`."""


def measure_vessels(mask: BoolImage) -> VesselMeasures:
    """Area, centreline, widths and topology of a mask, bool (H, W).

    Twigs of the centreline that do not reach well out of their vessel are taken off first, see `prune_spurs`.
    """
    box = bounding_box(mask)
    cut = np.ascontiguousarray(mask[box]) if box else np.zeros((1, 1), dtype=np.bool_)
    skeleton = prune_spurs(skeletonize(cut), cut)
    widths = width_at(cut, skeleton)
    length = centreline_length(skeleton)
    edges = [*PROFILE_EDGES, np.inf]
    # Every centreline pixel stands for an equal share of the length.
    shares = np.histogram(widths, edges)[0] * (length / max(widths.size, 1))
    return VesselMeasures(
        area=int(np.count_nonzero(mask)),
        length=length,
        branch_points=len(branch_points(skeleton)),
        end_points=int(np.count_nonzero(end_points(skeleton))),
        components=cv2.connectedComponents(cut.view(np.uint8), connectivity=8)[0] - 1,
        widths=tuple(float(w) for w in np.percentile(widths, PERCENTILES)) if widths.size else None,
        profile=tuple(float(share) for share in shares),
    )


class RunMeasures:
    """Measures of a run, gathered frame by frame; three masks are held."""

    def __init__(self) -> None:
        self.frames: list[VesselMeasures] = []
        self._last: list[BoolImage] = []
        self._flicker = 0

    def add(self, mask: BoolImage) -> None:
        """Measure the next frame."""
        self.frames.append(measure_vessels(mask))
        self._last = [*self._last[-2:], mask]
        if len(self._last) == 3:
            self._flicker += int(np.count_nonzero(flickering(*self._last)))

    @property
    def best(self) -> int:
        """Position of the best-filled frame: most vessel pixels, counted no further than the median of it and its
        neighbours, so that no single frame of false alarms wins."""
        areas = [frame.area for frame in self.frames]
        padded = [areas[0], *areas, areas[-1]]
        medians = [sorted(padded[k : k + 3])[1] for k in range(len(areas))]
        return max(range(len(areas)), key=lambda k: (min(areas[k], medians[k]), areas[k]))

    @property
    def flicker(self) -> float | None:
        """Pixels that differ from both neighbours in time, by vessel pixels of the frames that have both."""
        vessel = sum(frame.area for frame in self.frames[1:-1])
        return self._flicker / vessel if vessel else None


def run_report(
    facts: RunFacts, indices: Sequence[int], measures: RunMeasures, about: Mapping[str, Any]
) -> dict[str, Any]:
    """The report of a run as plain values; nothing in it identifies a patient.

    Args:
        facts: of the run.
        indices: the frames that were measured, from 0.
        measures: all of them added.
        about: `run` (what it is called in the output), `weights`, `settings`, `warnings` (a line each).
    """
    pixels = facts.rows * facts.columns
    spacing = float(np.sqrt(facts.spacing_mm[0] * facts.spacing_mm[1])) if facts.spacing_mm else None
    times = facts.frame_times_ms
    frames = [
        {
            "frame": index + 1,
            "time_ms": times[index] if times else None,
            **_plain(frame, pixels, spacing),
        }
        for index, frame in zip(indices, measures.frames, strict=True)
    ]
    best = measures.best
    return {
        "format_version": FORMAT_VERSION,
        "notice": "Research use only, not a medical device.",
        "version": __version__,
        **about,
        "source": _facts(facts),
        "spacing": _spacing(facts),
        "best_frame": indices[best] + 1,
        "summary": {
            "mean_vessel_share": round(sum(frame.area for frame in measures.frames) / (pixels * len(frames)), 6),
            "flicker": None if measures.flicker is None else round(measures.flicker, 5),
            "best": frames[best],
        },
        "width_profile_edges_px": list(PROFILE_EDGES),
        "frames": frames,
    }


def _facts(facts: RunFacts) -> dict[str, Any]:
    kept = ("num_frames", "rows", "columns", "modality", "primary_angle", "secondary_angle")
    return {name: value for name, value in asdict(facts).items() if name in kept}


def _spacing(facts: RunFacts) -> dict[str, Any] | None:
    if facts.spacing_mm is None or facts.spacing_kind is None:
        return None
    return {
        "rows_mm": round(facts.spacing_mm[0], 6),
        "columns_mm": round(facts.spacing_mm[1], 6),
        "kind": facts.spacing_kind,
        "note": f"Nominal: millimetres hold {_NOTES[facts.spacing_kind]}. Lengths are those of the projection.",
    }


def _plain(frame: VesselMeasures, pixels: int, spacing: float | None) -> dict[str, Any]:
    """A frame's measures in pixels and, where the spacing is known, in nominal millimetres."""
    values: dict[str, Any] = {
        "vessel_area_px": frame.area,
        "vessel_share": round(frame.area / pixels, 6),
        "centreline_length_px": round(frame.length, 1),
        "branch_points": frame.branch_points,
        "end_points": frame.end_points,
        "components": frame.components,
        "width_px": _widths(frame.widths, 1.0),
        "width_profile_px": [round(share, 1) for share in frame.profile],
    }
    if spacing is not None:
        values["vessel_area_mm2"] = round(frame.area * spacing**2, 2)
        values["centreline_length_mm"] = round(frame.length * spacing, 2)
        values["width_mm"] = _widths(frame.widths, spacing)
    return values


def _widths(widths: tuple[float, ...] | None, scale: float) -> dict[str, float] | None:
    if widths is None:
        return None
    return {f"p{percent:02d}": round(value * scale, 3) for percent, value in zip(PERCENTILES, widths, strict=True)}
