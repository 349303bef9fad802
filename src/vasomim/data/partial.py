"""Frames whose labels show a part of what is there: main vessels outlined, whole trees extracted or drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vasomim.data.samples import AnySample, FrameDataset, changed, concatenate, subset


@dataclass(frozen=True)
class PartlyLabelled:
    """Frames that all have `vessels`, the whole tree, and of which some have a true `mask`, the main vessels."""

    frames: FrameDataset
    labelled: tuple[bool, ...]
    """Of each frame, whether its mask is a label; the others have an empty one."""


def partly_labelled(
    labelled: FrameDataset, unlabelled: Sequence[FrameDataset], drawn: Sequence[FrameDataset], share: float
) -> PartlyLabelled:
    """Join frames with different kinds of truth; the smaller side is repeated until the share is about right.

    Args:
        labelled: frames with a mask of their main vessels and extracted vessels; the tree is both together.
        unlabelled: frames with extracted vessels, which are their tree.
        drawn: frames whose mask shows the whole tree.
        share: of `unlabelled` and `drawn` together among all, in (0, 1).
    """
    parts = [changed(each, _without_mask) for each in unlabelled] + [changed(each, _mask_as_tree) for each in drawn]
    whole = concatenate([changed(labelled, _with_mask_in_tree), *parts])
    first, others = len(labelled), len(whole) - len(labelled)
    repeats = others * (1 - share) / (share * first) if others else 1.0
    ours, theirs = max(1, round(repeats)), max(1, round(1 / repeats))
    order = [*range(first)] * ours + [*range(first, len(whole))] * theirs
    return PartlyLabelled(subset(whole, order), tuple(index < first for index in order))


def _with_mask_in_tree(sample: AnySample) -> AnySample:
    return dataclasses.replace(sample, vessels=np.asarray(sample.vessels) | np.asarray(sample.mask))


def _without_mask(sample: AnySample) -> AnySample:
    return dataclasses.replace(sample, mask=np.zeros(sample.image.shape, np.bool_))


def _mask_as_tree(sample: AnySample) -> AnySample:
    return dataclasses.replace(sample, vessels=np.asarray(sample.mask), mask=np.zeros(sample.image.shape, np.bool_))
