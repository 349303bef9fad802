from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vasomim.data.groups import chains, grouped, linked, repeated


def test_linked__joins_transitively_and_keeps_order() -> None:
    assert linked(6, [(4, 2), (5, 4), (0, 3)]) == [[0, 3], [1], [2, 4, 5]]
    assert linked(0, []) == []


@given(st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14)), max_size=30))
def test_linked__equals_a_search_through_the_links(links: list[tuple[int, int]]) -> None:
    reach = [{index} for index in range(15)]
    for _ in range(15):
        for a, b in links:
            joined = reach[a] | reach[b]
            for index in joined:
                reach[index] = reach[index] | joined
    assert linked(15, links) == [sorted(group) for index, group in enumerate(reach) if min(group) == index]


def test_grouped_and_chains() -> None:
    assert grouped(["b", "a", "b", None, None]) == [[0, 2], [1], [3, 4]]
    assert list(chains([[0, 2, 5], [1]])) == [(0, 2), (0, 5)]


@given(st.lists(st.integers(0, 5)))
def test_repeated__are_those_counted_more_than_once(keys: list[int]) -> None:
    found = repeated(keys)
    assert set(found) == {key for key in keys if keys.count(key) > 1}
    assert found == sorted(found, key=keys.index)


def test_repeated__of_a_large_set_takes_no_time() -> None:
    names = [f"frame {number}" for number in range(100_000)]
    assert repeated(names * 2) == names
