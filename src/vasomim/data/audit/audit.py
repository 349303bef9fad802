"""The whole audit: one pass over the files, then the findings."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from vasomim.data.audit.box_checks import table_findings
from vasomim.data.audit.coco_checks import Annotations, coco_findings, read_annotations
from vasomim.data.audit.findings import Finding, finding, in_order
from vasomim.data.audit.frame_checks import Seen, frame_findings, unread_findings
from vasomim.data.audit.layout import AuditFrame, AuditSet, Layout, find_layout, masks_by_stem
from vasomim.data.audit.look import Job, look_at
from vasomim.data.audit.mask_checks import mask_findings, pairing_findings
from vasomim.data.audit.split_checks import copy_findings, kept_frames, lists_of_kept, patient_findings
from vasomim.data.audit.summary import summarise
from vasomim.data.copies import WORTH, Copies, Pair, compare_records, find_copies
from vasomim.data.pool import map_in_processes, num_workers
from vasomim.ops.likeness import Likeness

T = TypeVar("T")


class Watch(Protocol):
    """Is told how the audit goes on: a title, how many there are, and one call for each that is done."""

    def __call__(self, title: str, total: int, items: Iterable[T], /) -> Iterator[T]: ...


@dataclass(frozen=True)
class Audit:
    """What an audit found."""

    findings: list[Finding]
    """Worst first."""
    summary: dict[str, Any]
    jobs: dict[str, Job]
    """Where each shown frame lies, and its mask."""
    kept: dict[Path, list[Path]]
    """Frames without copies, by audited folder."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it: findings and summary."""
        return {"findings": [item.to_dict() for item in self.findings], "summary": self.summary}


def audit_folders(roots: Sequence[Path], workers: int = 0, watch: Watch | None = None) -> Audit:
    """Audit all frames below some folders, their masks, annotation files and tables.

    Each file is read once, and once more where a frame has a near neighbour; of a frame its numbers are kept, not its
    pixels. Files that cannot be read are findings and stop nothing.

    Args:
        roots: folders. Splits are sub-folders named train, val, test and the like; else each folder is one.
        workers: processes; 0 takes one a core.
        watch: shows progress.

    Raises:
        MisuseError: no folder, a missing one, one without frames, or one named twice.
        DataError: a folder cannot be listed, or a worker process died.
    """
    start = time.perf_counter()
    watch = watch or _unwatched
    layout = find_layout(roots)
    masks = {home.name: masks_by_stem(home) for home in layout.sets}
    annotations = [(home, home.annotations[0], read_annotations(home.annotations[0])) for home in _annotated(layout)]
    jobs = _jobs(layout.frames, masks, {home.name: content for home, _, content in annotations})
    count = num_workers(workers, len(jobs), WORTH)
    looks = list(watch("reading frames", len(jobs), map_in_processes(look_at, jobs, count)))
    read = time.perf_counter() - start
    seen = list(zip(layout.frames, looks, strict=True))
    copies, whole = _find_copies(seen, workers, watch)
    frames = [seen[index][0] for index in whole]
    findings = _file_findings(layout, seen, masks, annotations)
    findings += [*copy_findings(frames, copies), *patient_findings(layout.frames)]
    sizes = [looks[index].shape[0] * looks[index].shape[1] for index in whole]
    kept = kept_frames(frames, copies, sizes)
    summary = summarise(seen, [(home, content) for home, _, content in annotations])
    summary |= {"kept": len(kept), **_speed(len(seen), read, start)}
    named = {frame.name: job for frame, job in zip(layout.frames, jobs, strict=True)}
    return Audit(in_order(findings), summary, named, lists_of_kept(frames, kept))


def _annotated(layout: Layout) -> list[AuditSet]:
    return [home for home in layout.sets if home.annotations]


def _jobs(
    frames: Sequence[AuditFrame], masks: dict[str, dict[str, list[Path]]], annotations: dict[str, Annotations]
) -> list[Job]:
    jobs = []
    for frame in frames:
        there = masks[frame.home.name]
        files = next((there[name] for name in frame.mask_names if name in there), None)
        content = annotations.get(frame.home.name)
        listed = content.listed.get(frame.key) if content else None
        if files or listed is None:
            jobs.append(Job(frame.record, files[0] if files else None, frame.home.classes))
        else:
            jobs.append(Job(frame.record, outlines=listed.vessels, listed=listed.shape))
    return jobs


def _find_copies(seen: Sequence[Seen], workers: int, watch: Watch) -> tuple[Copies, list[int]]:
    """Copies among the frames that can be read, as positions in the list of these, and where they are in `seen`."""
    whole = [index for index, (_, look) in enumerate(seen) if look.prints]
    frames = [seen[index][0] for index in whole]
    records = [frame.record for frame in frames]

    def compare(pairs: Sequence[Pair]) -> Iterator[Likeness]:
        return watch("comparing neighbours", len(pairs), compare_records(records, pairs, workers))

    prints = [look.prints for _, look in seen if look.prints]
    return find_copies(prints, [frame.run for frame in frames], compare), whole


def _file_findings(
    layout: Layout,
    seen: Sequence[Seen],
    masks: dict[str, dict[str, list[Path]]],
    annotations: Sequence[tuple[AuditSet, Path, Annotations]],
) -> list[Finding]:
    """Findings about each file, and about what lies beside the frames of its set."""
    found = [*layout.findings, *frame_findings(seen), *unread_findings(layout.others), *mask_findings(seen)]
    for home in layout.sets:
        found += _set_findings(home, [item for item in seen if item[0].home is home], masks[home.name])
    for home, file, content in annotations:
        found += coco_findings(home, file, content, [item for item in seen if item[0].home is home])
    return found


def _set_findings(home: AuditSet, seen: Sequence[Seen], masks: dict[str, list[Path]]) -> list[Finding]:
    """Findings about what lies beside the frames of a set."""
    found = table_findings(home, seen)
    if home.masks:
        found += pairing_findings(home, [frame for frame, _ in seen], masks)
    if len(home.annotations) > 1:
        names = [home.show(path) for path in home.annotations]
        text = f"{len(names)} annotation files lie beside one set of images; the readers want one"
        found.append(finding("unreadable_annotations", names, text))
    return found


def _speed(frames: int, read: float, start: float) -> dict[str, float]:
    """Seconds of the whole audit, and frames a second of the pass over the files."""
    return {
        "seconds": round(time.perf_counter() - start, 2),
        "frames_per_second": round(frames / max(read, 1e-9), 1),
    }


def _unwatched(_title: str, _total: int, items: Iterable[T]) -> Iterator[T]:
    return iter(items)
