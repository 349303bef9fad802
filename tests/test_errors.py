from __future__ import annotations

import pytest

from vasomim.errors import first_few


@pytest.mark.parametrize(
    ("count", "shown"), [(0, ""), (1, "0"), (3, "0, 1, 2"), (4, "0, 1, 2 and 1 more"), (9, "0, 1, 2 and 6 more")]
)
def test_first_few__names_some_and_counts_the_rest(count: int, shown: str) -> None:
    assert first_few([str(k) for k in range(count)], 3) == shown


def test_first_few__phrases_may_hold_commas() -> None:
    assert first_few(["a, b", "c", "d"], 2, between="; ") == "a, b; c and 1 more"
