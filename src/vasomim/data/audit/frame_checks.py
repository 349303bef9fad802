"""Findings about single frames, and frames unlike the rest of their set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from vasomim.data.audit.findings import Finding, counted, finding
from vasomim.data.audit.layout import AuditFrame
from vasomim.data.audit.look import Look
from vasomim.data.audit.signatures import SUFFIXES, codec_of, read_head
from vasomim.data.groups import grouped
from vasomim.ops.ridges import INVERTED

Seen = tuple[AuditFrame, Look]

FLAT = 0.01
"""Deviation of grey values, of the full scale, below which a frame shows nothing."""
SATURATED = 0.25
"""Share of the exposed field at one end of the grey scale; ordinary frames have up to 0.02, synthetic ones to 0.14."""
BORDER = 0.15
"""Share of a frame outside the exposed field that is worth a word."""
ODD = 0.2
"""Frames that are at most this share of their set are odd ones; where more differ, the set is mixed."""
FEWEST = 5
"""Frames that a set must have before some can be unlike the rest."""


def frame_findings(seen: Sequence[Seen]) -> list[Finding]:
    """All findings about frames, set by set."""
    found = [_unreadable(frame, look) for frame, look in seen if look.error]
    whole = [(frame, look) for frame, look in seen if not look.error]
    for group in grouped([frame.home.name for frame, _ in whole]):
        members = [whole[index] for index in group]
        for check in _CHECKS:
            found += check(members)
    return found


def unread_findings(others: Sequence[tuple[Path, str]]) -> list[Finding]:
    """Files in folders of frames that are not read: pictures by their content, and the rest."""
    codecs = [codec_of(read_head(path)) for path, _ in others]
    pictures = [name for (_, name), codec in zip(others, codecs, strict=True) if codec]
    kinds = ", ".join(sorted({codec for codec in codecs if codec}))
    rest = [name for (_, name), codec in zip(others, codecs, strict=True) if not codec]
    found = [finding("unread_picture", pictures, f"{kinds} in {_count(pictures)}")] if pictures else []
    return found + ([finding("unknown_file", rest, f"{_count(rest)} of no known type")] if rest else [])


def _unreadable(frame: AuditFrame, look: Look) -> Finding:
    text = str(look.error).replace(frame.record.shown, frame.name).replace(str(frame.path), frame.name)
    return finding("unreadable", [frame.name], text)


def _wrong_suffix(seen: Sequence[Seen]) -> Iterator[Finding]:
    def wrong(frame: AuditFrame, look: Look) -> bool:
        by_name = frame.record.frame is None  # DICOM files may be called anything
        return by_name and look.codec is not None and frame.path.suffix.lower() not in SUFFIXES[look.codec]

    odd = [(frame, look) for frame, look in seen if wrong(frame, look)]
    for codec in sorted({str(look.codec) for _, look in odd}):
        names = [frame.name for frame, look in odd if look.codec == codec]
        yield finding("wrong_suffix", names, f"{codec} in {_count(names)} of another suffix")


def _constant(seen: Sequence[Seen]) -> Iterator[Finding]:
    yield from _flagged("constant", seen, _is_constant, "one grey value throughout")
    yield from _flagged(
        "flat", seen, lambda look: not _is_constant(look) and look.std < FLAT, f"deviation below {FLAT:.0%}"
    )


def _is_constant(look: Look) -> bool:
    return look.prints is not None and look.prints.bits is None


def _shows_something(look: Look) -> bool:
    return not _is_constant(look) and look.std >= FLAT


def _saturated(seen: Sequence[Seen]) -> Iterator[Finding]:
    able = [(frame, look) for frame, look in seen if _shows_something(look)]
    for end in ("white", "black"):
        members = [(frame, getattr(look, end)) for frame, look in able if getattr(look, end) >= SATURATED]
        if members:
            worst = max(share for _, share in members)
            text = f"up to {worst:.0%} of the exposed field {end} in {_count(members)}"
            yield finding("saturated", [frame.name for frame, _ in members], text)


def _inverted(seen: Sequence[Seen]) -> Iterator[Finding]:
    able = [(frame, look) for frame, look in seen if _shows_something(look)]
    members = [(frame, look) for frame, look in able if look.polarity < INVERTED]
    if members:
        text = f"more bright than dark ridges in {len(members)} of {_count(able)}"
        yield finding("inverted", [frame.name for frame, _ in members], text)


def _text(seen: Sequence[Seen]) -> Iterator[Finding]:
    yield from _flagged("burnt_in_text", seen, lambda look: bool(look.text), "rows of letters")


def _colour(seen: Sequence[Seen]) -> Iterator[Finding]:
    yield from _flagged("coloured", seen, lambda look: look.channels == "colour", "coloured pixels")
    stored = Counter(look.channels for _, look in seen)
    if stored["grey"] and stored["grey in colour"]:
        yield from _flagged(
            "mixed_channels", seen, lambda look: look.channels == "grey in colour", "grey in three channels"
        )


def _odd_ones(seen: Sequence[Seen]) -> Iterator[Finding]:
    """Among pictures alone: runs of DICOM differ by nature, and say themselves how many bits they have."""
    pictures = [(frame, look) for frame, look in seen if frame.record.frame is None]
    yield from _unlike("odd_size", pictures, lambda look: f"{look.shape[1]} x {look.shape[0]} px")
    yield from _unlike("odd_bit_depth", [item for item in pictures if _shows_something(item[1])], _depth)


def _depth(look: Look) -> str:
    return "floats" if look.bits == "float" else f"{look.bits} bits"


def _unlike(kind: str, seen: Sequence[Seen], of: Callable[[Look], str]) -> Iterator[Finding]:
    """One finding for each value that few frames of a set have, where nearly all have another."""
    values = [of(look) for _, look in seen]
    if len(values) < FEWEST:
        return
    usual, frequency = Counter(values).most_common(1)[0]
    if len(values) - frequency > ODD * len(values):
        return
    for value in sorted(set(values) - {usual}):
        names = [frame.name for (frame, _), own in zip(seen, values, strict=True) if own == value]
        yield finding(kind, names, f"{value} in {_count(names)}, {usual} in the other {frequency}")


def _border(seen: Sequence[Seen]) -> Iterator[Finding]:
    yield from _flagged(
        "dark_border", seen, lambda look: look.outside >= BORDER, f"{BORDER:.0%} or more of the area dark"
    )


def _flagged(kind: str, seen: Sequence[Seen], flag: Callable[[Look], bool], what: str) -> Iterator[Finding]:
    names = [frame.name for frame, look in seen if flag(look)]
    if names:
        yield finding(kind, names, f"{what} in {_count(names)}")


def _count(items: Sequence[object]) -> str:
    return counted(len(items), "file")


_CHECKS: tuple[Callable[[Sequence[Seen]], Iterator[Finding]], ...] = (
    _wrong_suffix,
    _constant,
    _saturated,
    _inverted,
    _text,
    _colour,
    _odd_ones,
    _border,
)
