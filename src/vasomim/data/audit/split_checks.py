"""Findings across frames: copies, runs and patients, and whether they lie on both sides of a split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vasomim.data.audit.findings import Finding, Severity, finding
from vasomim.data.audit.layout import AuditFrame
from vasomim.data.copies import Copies, copy_groups
from vasomim.data.groups import grouped


def copy_findings(frames: Sequence[AuditFrame], copies: Copies) -> list[Finding]:
    """A finding for every group of copies; of similar frames one a run, or one a group where runs are unknown."""
    found = [_copies("exact_duplicate", "are identical", frames, group) for group in copies.exact]
    found += [_copies("near_duplicate", "show one frame", frames, group) for group in copies.near]
    return found + [_similar(frames, group) for group in _by_run(frames, copies.similar)]


def patient_findings(frames: Sequence[AuditFrame]) -> list[Finding]:
    """A finding for every pair of splits that share patients. Patients are counted, not named."""
    splits: dict[str, set[str]] = {}
    for frame in frames:
        if frame.patient is not None:
            splits.setdefault(frame.patient, set()).add(frame.split or "")
    found = []
    for sides in sorted({tuple(sorted(sides)) for sides in splits.values() if len(sides) > 1}):
        shared = {patient for patient, held in splits.items() if tuple(sorted(held)) == sides}
        names = [frame.name for frame in frames if frame.patient in shared]
        where = " and ".join(side or "no split" for side in sides)
        text = f"{len(shared)} patient{'s' * (len(shared) > 1)} ({len(names)} frames) in {where}"
        found.append(finding("patient_leak", names, text))
    return found


def kept_frames(frames: Sequence[AuditFrame], copies: Copies, sizes: Sequence[int]) -> list[int]:
    """Frames that remain when one of each group of copies is kept, in order.

    Kept is a frame of a test or validation split before one for training, then the largest, then the first.
    """
    dropped: set[int] = set()
    for group in copy_groups(len(frames), copies):
        best = min(group, key=lambda index: (frames[index].split not in ("test", "val"), -sizes[index], index))
        dropped |= set(group) - {best}
    return [index for index in range(len(frames)) if index not in dropped]


def lists_of_kept(frames: Sequence[AuditFrame], kept: Sequence[int]) -> dict[Path, list[Path]]:
    """Files that hold kept frames by audited folder, as `frame_list_text` takes them."""
    by_root: dict[Path, dict[Path, None]] = {}
    for index in kept:
        by_root.setdefault(frames[index].root, {})[frames[index].path] = None
    return {root: list(paths) for root, paths in by_root.items()}


def _copies(kind: str, verb: str, frames: Sequence[AuditFrame], group: Sequence[int]) -> Finding:
    sides = _sides(frames, group)
    severity: Severity = "error" if len(sides) > 1 else "warning"
    where = f", in {' and '.join(sides)}" if len(sides) > 1 else ""
    return finding(kind, [frames[index].name for index in group], f"{len(group)} files {verb}{where}", severity)


def _similar(frames: Sequence[AuditFrame], group: Sequence[int]) -> Finding:
    sides = _sides(frames, group)
    severity: Severity = "warning" if len(sides) > 1 else "info"
    where = f", in {' and '.join(sides)}" if len(sides) > 1 else ""
    names = [frames[index].name for index in group]
    return finding("similar_frames", names, f"{len(group)} frames look like one run{where}", severity)


def _by_run(frames: Sequence[AuditFrame], groups: Sequence[Sequence[int]]) -> list[list[int]]:
    """Groups of one known run joined to one."""
    keys = [frames[group[0]].run if len({frames[index].run for index in group}) == 1 else None for group in groups]
    joined = grouped([key if key is not None else number for number, key in enumerate(keys)])
    return [sorted(index for number in numbers for index in groups[number]) for numbers in joined]


def _sides(frames: Sequence[AuditFrame], group: Sequence[int]) -> list[str]:
    """Splits that a group lies in; frames outside of any split count as none."""
    return sorted({frame.split for frame in (frames[index] for index in group) if frame.split})
