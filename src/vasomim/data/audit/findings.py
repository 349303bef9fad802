"""What an audit can find: every kind with its severity, its name for people and its fix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Kind:
    """A kind of finding."""

    severity: Severity
    """How bad it is, unless a finding says otherwise: an error stops a reader or falsifies a result."""
    title: str
    fix: str


@dataclass(frozen=True)
class Finding:
    """One thing that was found."""

    kind: str
    files: tuple[str, ...]
    """Names of the files concerned and of no other, as the audit shows them."""
    message: str
    severity: Severity
    fix: str
    count: int = 1
    """How often it occurs in these files."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "files": list(self.files),
            "message": self.message,
            "fix": self.fix,
            "count": self.count,
        }


KINDS: Mapping[str, Kind] = {
    # Files
    "unreadable": Kind("error", "Frames that cannot be read", "Copy the file again from its source, or remove it."),
    "unread_picture": Kind(
        "warning",
        "Pictures that are not read for their names",
        "Give the file the suffix of its content, or convert it to PNG.",
    ),
    "unknown_file": Kind("info", "Files of no known type", "Nothing reads them; move them away if they do not belong."),
    "wrong_suffix": Kind(
        "warning", "Suffix and content disagree", "Rename the file to the suffix of its content; other tools go by it."
    ),
    # Pixels
    "constant": Kind("error", "Frames of one grey value", "Remove the frame: there is nothing to learn from."),
    "flat": Kind("warning", "Frames with hardly any contrast", "Look at the frame; remove it if it shows nothing."),
    "saturated": Kind(
        "warning",
        "Saturated frames",
        "Export the frame again with a wider window: what was clipped cannot be brought back.",
    ),
    "inverted": Kind(
        "error", "Vessels bright instead of dark", "Invert the frame (MONOCHROME1 was not applied, or applied twice)."
    ),
    "burnt_in_text": Kind(
        "warning",
        "Text burnt into the frame",
        "Blank or crop the text: it may name a patient, and a network will read it.",
    ),
    "coloured": Kind(
        "warning", "Coloured marks", "Take the frame without overlay: marks would be learned as if they were anatomy."
    ),
    "mixed_channels": Kind(
        "info", "Grey frames stored in colour", "Nothing to do here; other tools may want one mode."
    ),
    "odd_size": Kind("warning", "Sizes unlike the rest", "Check where the frame comes from; crops assume one scale."),
    "odd_bit_depth": Kind(
        "warning", "Bit depths unlike the rest", "Export all frames of a set alike; their grey scales may differ."
    ),
    "dark_border": Kind(
        "info", "Wide dark borders", "Crop to the exposed field, or leave it: extraction looks inside."
    ),
    # Copies
    "exact_duplicate": Kind(
        "warning", "Identical frames", "Keep one of them, and one of its labels: --keep-list writes such a list."
    ),
    "near_duplicate": Kind(
        "warning", "Copies that were encoded, sized or graded anew", "Keep one: --keep-list writes such a list."
    ),
    "similar_frames": Kind(
        "info", "Frames of one run that look alike", "Keep frames of one run on one side of every split."
    ),
    "patient_leak": Kind("error", "Patients on both sides of a split", "Split by patient: move them to one side."),
    # Masks
    "missing_mask": Kind(
        "error", "Frames without mask", "Name masks as their frames; add missing ones, or move the frames away."
    ),
    "orphan_mask": Kind(
        "error", "Masks without frame", "Name masks as their frames; add the frames, or remove the masks."
    ),
    "doubled_mask": Kind("error", "Several masks for one frame", "Keep one mask for each frame."),
    "unreadable_mask": Kind(
        "error", "Masks that cannot be read", "Export the mask again, or remove it with its frame."
    ),
    "mask_size": Kind("error", "Masks of another size than their frame", "Make the mask again at the frame's size."),
    "empty_mask": Kind("warning", "Masks without a vessel", "Check that this frame was annotated."),
    "full_mask": Kind("error", "Masks that cover most of the frame", "Invert the mask if vessels are its zeros."),
    "stray_mask_levels": Kind(
        "warning",
        "Masks with stray grey levels",
        "Store two values, 0 and 255, in PNG; here above half counts as vessel.",
    ),
    "misaligned_mask": Kind(
        "error", "Masks beside their vessels", "Shift, turn or mirror the mask back, or pair frame and mask anew."
    ),
    "unrelated_mask": Kind(
        "warning", "Masks that fit no vessel of their frame", "Check the pairing: the mask may be another frame's."
    ),
    # Annotation files and tables
    "unreadable_annotations": Kind("error", "Annotation files that cannot be used", "Take the official file again."),
    "duplicate_annotation_id": Kind(
        "warning", "Annotation ids that repeat", "Number them anew, or index by image and position as done here."
    ),
    "duplicate_image_id": Kind("error", "Images listed twice", "Keep one entry of each."),
    "unknown_image_id": Kind(
        "error", "Annotations of unlisted images", "List the images, or remove their annotations."
    ),
    "unknown_category_id": Kind("error", "Unknown categories", "Use 1 to 25 (vessel segments) or 26 (stenosis)."),
    "broken_polygon": Kind("error", "Outlines that are no polygon", "Draw again: at least 3 finite points, as x, y."),
    "polygon_out_of_bounds": Kind(
        "warning", "Outlines that leave their frame", "Clip them, and check that frame and outline have one size."
    ),
    "self_crossing_polygon": Kind(
        "warning", "Outlines that cross themselves", "Draw again: tools fill the crossed part differently."
    ),
    "missing_frame": Kind("error", "Frames that are listed but not there", "Copy them there or remove their entries."),
    "unlisted_frame": Kind("warning", "Frames that no label lists", "List them, or move them to an unlabelled folder."),
    "unlabelled_frame": Kind("warning", "Frames listed without any label", "Annotate them, or remove their entries."),
    "frame_size": Kind("error", "Frames of another size than listed", "Correct the entry: the outlines do not fit."),
    "broken_table": Kind("error", "Tables that cannot be used", "Mend the line that is named."),
    "box_out_of_bounds": Kind("warning", "Boxes that leave their frame", "Scale boxes together with their frames."),
}
"""Every kind, in the order of the report."""


def finding(
    kind: str, files: Iterable[str], message: str, severity: Severity | None = None, count: int | None = None
) -> Finding:
    """A finding of a known kind, with its severity and its fix unless told otherwise."""
    names = tuple(files)
    known = KINDS[kind]
    return Finding(kind, names, message, severity or known.severity, known.fix, count or max(1, len(names)))


def counted(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Worst first, then in the order of KINDS; findings of one kind stay as they came."""
    rank = {kind: number for number, kind in enumerate(KINDS)}
    return sorted(findings, key=lambda item: (SEVERITIES.index(item.severity), rank[item.kind]))


def needs_action(findings: Sequence[Finding]) -> bool:
    """Whether anything is worse than information."""
    return any(item.severity != "info" for item in findings)
