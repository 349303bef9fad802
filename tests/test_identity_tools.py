"""The search for names finds what is told, and no number that only looks like it."""

from __future__ import annotations

import pytest

from identity_tools import told


@pytest.mark.parametrize(
    "text",
    ["PX-774411", b"\x08\x00PX-774411 \x10\x00", "px774411.dcm", "id_774411_1", '"774411"', b"\x06\x00774411\x10\x00"],
)
def test_told__finds_a_number_that_stands_for_itself(text: str | bytes) -> None:
    assert told(text, ["774411", "xenia"]) == ["774411"]


@pytest.mark.parametrize("text", ["2.25.3774411900", "0.774411", "1.774411e-3", "ab774411", "774411c0", "2.25.774411"])
def test_told__passes_over_digits_of_uids_hashes_and_measured_values(text: str) -> None:
    assert told(text, ["774411"]) == []


@pytest.mark.parametrize("text", ["QUANDTMEYER^Xenia", b"\xffxXENIA1"])
def test_told__finds_words_in_any_case_and_inside_of_others(text: str | bytes) -> None:
    assert "xenia" in told(text, ["quandtmeyer", "xenia"])
