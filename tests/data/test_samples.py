from __future__ import annotations

import numpy as np
import pytest
from data_tools import memory

from vasomim.data.samples import concatenate, subset, with_vessels
from vasomim.errors import DataError, MisuseError
from vasomim.types import BoolImage, Record


def ids(dataset) -> list[str]:
    return [record.id for record in dataset.records]


def check_consistent(dataset) -> None:
    assert len(dataset.records) == len(dataset) == len(set(ids(dataset)))
    for index in range(len(dataset)):
        assert dataset[index].record == dataset.records[index]


def test_subset__keeps_order_and_nests() -> None:
    part = subset(subset(memory(6), [4, 2, 0]), np.array([2, 0]))
    assert ids(part) == ["0", "4"]
    check_consistent(part)


def test_concatenate__leaves_unique_ids() -> None:
    joined = concatenate([subset(memory(4), [0, 1]), subset(memory(4), [2, 3])])
    assert ids(joined) == ["0", "1", "2", "3"]
    check_consistent(joined)


def test_concatenate__tells_roots_apart_by_their_last_parts() -> None:
    joined = concatenate([memory(1, source="/d/syntax/train"), memory(1, source="/d/stenosis/train")])
    assert ids(joined) == ["syntax/train/0", "stenosis/train/0"]
    check_consistent(joined)


def test_concatenate__prefix_is_as_short_as_can_be() -> None:
    assert ids(concatenate([memory(1, source="/d/a"), memory(1, source="/d/b")])) == ["a/0", "b/0"]


def test_concatenate__of_one_is_itself() -> None:
    only = memory(2)
    assert concatenate([only]) is only


def test_concatenate__nothing_or_the_same_twice() -> None:
    with pytest.raises(MisuseError, match="no frames"):
        concatenate([])
    with pytest.raises(MisuseError, match="given twice"):
        concatenate([memory(1), memory(1)])


class Store:
    def __init__(self, shape: tuple[int, int] = (24, 32)) -> None:
        self.shape = shape

    def load(self, record: Record) -> BoolImage:
        return np.full(self.shape, record.id == "1")


def test_with_vessels__adds_what_the_store_holds() -> None:
    dataset = with_vessels(memory(2), Store())
    assert dataset[1].vessels.all()
    assert not dataset[0].vessels.any()
    assert dataset[0].mask is not None
    check_consistent(dataset)


def test_with_vessels__sizes_that_differ() -> None:
    with pytest.raises(DataError, match=r"32 x 24 .* 9 x 8 .* extract them again"):
        with_vessels(memory(1), Store((8, 9)))[0]
