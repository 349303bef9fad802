"""Frames with labels, extracted vessels and drawn trees, joined."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from data_tools import MemoryDataset, memory

from vasomim.data.partial import partly_labelled
from vasomim.data.samples import FrameDataset


def with_some_vessels(dataset: MemoryDataset) -> MemoryDataset:
    return MemoryDataset(
        [dataclasses.replace(sample, vessels=np.asarray(sample.image) > 0.8) for sample in dataset.samples]
    )


def without_masks(dataset: MemoryDataset) -> MemoryDataset:
    return MemoryDataset([dataclasses.replace(sample, mask=None) for sample in dataset.samples])


def three_kinds() -> tuple[FrameDataset, FrameDataset, FrameDataset]:
    return (
        with_some_vessels(memory(4, source="labelled")),
        without_masks(with_some_vessels(memory(6, source="unlabelled"))),
        memory(2, source="drawn"),
    )


def test_partly_labelled__gives_each_kind_its_truth() -> None:
    labelled, unlabelled, drawn = three_kinds()
    joined = partly_labelled(labelled, [unlabelled], [drawn], share=0.67)
    assert list(joined.labelled) == [True] * 4 + [False] * 8
    for index in range(12):
        sample = joined.frames[index]
        assert sample.mask is not None
        assert sample.vessels is not None
        if index < 4:
            truth = labelled[index]
            np.testing.assert_array_equal(sample.mask, truth.mask)
            np.testing.assert_array_equal(sample.vessels, np.asarray(truth.mask) | np.asarray(truth.vessels))
        elif index < 10:
            assert not sample.mask.any()
            np.testing.assert_array_equal(sample.vessels, unlabelled[index - 4].vessels)
        else:
            assert not sample.mask.any()
            np.testing.assert_array_equal(sample.vessels, drawn[index - 10].mask)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9])
def test_partly_labelled__comes_near_the_share(share: float) -> None:
    labelled, unlabelled, drawn = three_kinds()
    joined = partly_labelled(labelled, [unlabelled], [drawn], share)
    others = 1 - np.mean(joined.labelled)
    assert len(joined.frames) == len(joined.labelled)
    assert others == pytest.approx(share, abs=0.1)


def test_partly_labelled__labels_alone() -> None:
    labelled, _, _ = three_kinds()
    joined = partly_labelled(labelled, [], [], 0.4)
    assert joined.labelled == (True,) * 4
    assert [record.id for record in joined.frames.records] == [record.id for record in labelled.records]
