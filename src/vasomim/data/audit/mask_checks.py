"""Findings about masks: there, whole, of the right size, on the vessels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from vasomim.data.audit.findings import Finding, counted, finding
from vasomim.data.audit.layout import AuditFrame, AuditSet
from vasomim.data.audit.look import LARGE_SHARE, Look, MaskLook
from vasomim.data.listing import holds_frames
from vasomim.data.mask_files import is_segmentation

Labelled = tuple[AuditFrame, MaskLook, tuple[int, int]]
"""A frame, its mask, and the frame's (H, W)."""

FAR = 0.015
"""Shift, as a share of the side, that is a mistake; expert masks fit best within 0.007."""
GAIN, GOOD = 0.1, 0.26
"""Correlation that a shift or turn must bring, and must reach; another frame's mask reaches 0.25 after any shift."""
UNRELATED = 0.1
"""Correlation below which a mask has nothing to do with its frame; of 1,400 masks in their place none lies there."""
ENOUGH = 0.02
"""Share of vessel from which that is remarkable; less may be vessel that the contrast agent has hardly reached."""


def pairing_findings(
    home: AuditSet, frames: Sequence[AuditFrame], masks: Mapping[str, Sequence[Path]]
) -> list[Finding]:
    """Frames without mask, masks without frame, and several masks for one frame of a set with a folder of masks."""
    expected = {name for frame in frames for name in frame.mask_names}
    labelled = {frame.path for frame in frames if not masks.keys().isdisjoint(frame.mask_names)}
    bare = [frame for frame in frames if frame.path not in labelled]  # of a run a few frames may be labelled
    if home.masks and holds_frames(home.masks, is_segmentation):  # which of the runs they are of is not looked at
        bare = [frame for frame in bare if frame.record.frame is None]
    orphans = [home.show(path) for name, paths in masks.items() if name not in expected for path in paths]
    doubled = {stem: paths for stem, paths in masks.items() if len(paths) > 1}
    found = []
    if bare:
        text = f"no mask for {len(bare)} of {counted(len(frames), 'frame')}"
        found.append(finding("missing_mask", [frame.name for frame in bare], text))
    if orphans:
        found.append(finding("orphan_mask", orphans, f"no frame for {counted(len(orphans), 'mask')}"))
    return found + [
        finding("doubled_mask", [home.show(path) for path in paths], f"{len(paths)} masks for {stem}")
        for stem, paths in doubled.items()
    ]


def mask_findings(seen: Sequence[tuple[AuditFrame, Look]]) -> list[Finding]:
    """What is wrong with the masks that belong to frames; a misplaced one is a finding of its own."""
    labelled = [(frame, look.mask, look.shape) for frame, look in seen if look.mask]
    found = [
        finding("unreadable_mask", [frame.name], f"the mask of {frame.name} cannot be read: {mask.error}")
        for frame, mask, _ in labelled
        if mask.error
    ]
    fitting = [item for item in labelled if not item[1].error and item[1].shape == item[2]]
    sizes = [item for item in labelled if not item[1].error and item[1].shape != item[2]]
    found += _listed("mask_size", sizes, "another size than the frame")
    found += _empty([item for item in fitting if item[1].share == 0], fitting)
    full = [item for item in fitting if item[1].share > LARGE_SHARE]
    found += _listed("full_mask", full, f"more than {LARGE_SHARE:.0%} vessel")
    stray = [item for item in fitting if item[1].stray]
    found += _listed("stray_mask_levels", stray, "values that a mask should not have")
    for frame, mask, _ in fitting:
        found += _placement(frame, mask)
    return found


def _empty(empty: Sequence[Labelled], labelled: Sequence[Labelled]) -> list[Finding]:
    """Empty masks; in a cine run that has others as well they are the frames without contrast agent."""
    filled = {frame.run for frame, mask, _ in labelled if mask.share > 0 and frame.run is not None}
    before = [item for item in empty if item[0].run in filled]
    after = [item for item in empty if item[0].run not in filled]
    found = _listed("empty_mask", after, "no vessel")
    if before:
        names = [frame.name for frame, _, _ in before]
        text = f"no vessel in {counted(len(names), 'mask')}, but in others of the same runs"
        found.append(finding("empty_mask", names, text, "info"))
    return found


def _placement(frame: AuditFrame, mask: MaskLook) -> list[Finding]:
    shift = mask.shift
    if shift is None:
        return []
    far = math.hypot(shift.down, shift.right)
    if far >= FAR and shift.there >= GOOD and shift.there - shift.here >= GAIN:
        down, right = round(shift.down * mask.shape[0]), round(shift.right * mask.shape[1])
        text = f"fits when moved by {_move(right, 'right', 'left')} and {_move(down, 'down', 'up')}"
    elif mask.turned and mask.turned[1] >= GOOD and mask.turned[1] - shift.here >= GAIN:
        text = f"fits when {mask.turned[0]}"
    elif shift.here < UNRELATED and mask.share >= ENOUGH:
        text = f"correlates with the ridges of its frame by {shift.here:.2f}; masks in their place do by 0.13 to 0.75"
        return [finding("unrelated_mask", [frame.name], f"the mask of {frame.name} {text}")]
    else:
        return []
    return [finding("misaligned_mask", [frame.name], f"the mask of {frame.name} {text}")]


def _move(pixels: int, ahead: str, back: str) -> str:
    return f"{abs(pixels)} px {ahead if pixels >= 0 else back}"


def _listed(kind: str, members: Sequence[Labelled], text: str) -> list[Finding]:
    names = [frame.name for frame, _, _ in members]
    return [finding(kind, names, f"{text} in {counted(len(names), 'mask')}")] if names else []
