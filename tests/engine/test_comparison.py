"""Two evaluations: paired where they can be, refused where they cannot."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from vasomim.engine.comparison import compare, read_evaluation
from vasomim.engine.evaluation import EvaluationCard, Failure, evaluate
from vasomim.errors import DataError, MisuseError
from vasomim.stats import paired_test

PROTOCOL = {"size": "native", "rasteriser": "coco"}


def card(
    shift: int, names: str = "abcdefgh", protocol: dict[str, object] | None = None, rows: int = 6
) -> EvaluationCard:
    """Bands of `rows` pixels, predicted some pixels too low."""
    frames = []
    for name in names:
        target = np.zeros((48, 48), bool)
        start = 8 + ord(name) % 7
        target[start : start + rows, 4:44] = True
        frames.append((name, np.roll(target, shift + ord(name) % 2, 0), target))
    return evaluate(frames, protocol=protocol or PROTOCOL, resamples=200)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    card(2).write(tmp_path / "other")
    return tmp_path / "other"


@pytest.mark.parametrize("name", ["", "evaluation.json"])
def test_compare__equals_the_paired_test_of_the_per_image_values(stored: Path, name: str) -> None:
    ours, theirs = card(1), card(2)
    comparison = compare(ours, read_evaluation(stored / name)).to_dict()["comparison"]
    expected = paired_test(ours.values("dice"), theirs.values("dice"), 200)
    result = comparison["metrics"]["dice"]
    assert comparison["n"] == 8
    assert result["difference"] == expected.difference > 0
    assert tuple(result["ci95"]) == expected.ci95
    assert result["p_value"] == expected.p_value == 2 / 2**8
    assert comparison["metrics"]["hd95"]["difference"] < 0


def test_compare__frames_are_paired_by_id_not_by_order(stored: Path) -> None:
    forwards = compare(card(1), read_evaluation(stored)).to_dict()["comparison"]
    backwards = compare(card(1, "hgfedcba"), read_evaluation(stored)).to_dict()["comparison"]
    assert forwards["metrics"]["dice"]["p_value"] == backwards["metrics"]["dice"]["p_value"]
    assert forwards["metrics"]["dice"]["ci95"] == backwards["metrics"]["dice"]["ci95"]


def test_compare__with_itself_finds_nothing(stored: Path) -> None:
    result = compare(card(2), read_evaluation(stored)).to_dict()["comparison"]["metrics"]["cldice"]
    assert (result["difference"], result["ci95"], result["p_value"]) == (0.0, [0.0, 0.0], 1.0)


def test_compare__is_shown_in_the_page(stored: Path) -> None:
    page = compare(card(1), read_evaluation(stored)).to_html()
    assert "Comparison" in page
    assert "sign-flip permutation" in page


def test_compare__refuses_other_frames(stored: Path) -> None:
    with pytest.raises(MisuseError, match="other frames: 1 only here, 2 only there"):
        compare(card(1, "abcdefz"), read_evaluation(stored))


def test_compare__frames_that_both_could_not_measure_do_not_matter(tmp_path: Path) -> None:
    broken = [Failure("z", "cannot read z.png")]
    dataclasses.replace(card(2), failures=broken).write(tmp_path)
    ours = dataclasses.replace(card(1), failures=broken)
    assert compare(ours, read_evaluation(tmp_path)).to_dict()["comparison"]["n"] == 8


@pytest.mark.parametrize(("ours", "theirs"), [("abcdefg", "abcdefgh"), ("abcdefgh", "abcdefg")])
def test_compare__refuses_frames_that_one_alone_could_measure(tmp_path: Path, ours: str, theirs: str) -> None:
    def failed(names: str) -> EvaluationCard:
        broken = [Failure(name, "broken") for name in "abcdefgh" if name not in names]
        return dataclasses.replace(card(1, names), failures=broken)

    failed(theirs).write(tmp_path)
    with pytest.raises(DataError, match=r"1 frame\(s\) could be measured in one of the two alone, such as h"):
        compare(failed(ours), read_evaluation(tmp_path))


def test_compare__names_that_are_no_utf8(tmp_path: Path) -> None:
    names = "abc" + os.fsdecode(bytes([0xE9]))
    card(2, names).write(tmp_path)
    assert compare(card(1, names), read_evaluation(tmp_path)).to_dict()["comparison"]["n"] == 4


@pytest.mark.parametrize("changed", [{"size": 224}, {"rasteriser": "arcade-official"}])
def test_compare__refuses_another_protocol(stored: Path, changed: dict[str, object]) -> None:
    with pytest.raises(MisuseError, match="evaluate both alike"):
        compare(card(1, protocol={**PROTOCOL, **changed}), read_evaluation(stored))


def test_compare__refuses_other_labels(stored: Path) -> None:
    with pytest.raises(MisuseError, match="other labels"):
        compare(card(1, rows=5), read_evaluation(stored))


def test_read_evaluation__missing(tmp_path: Path, stored: Path) -> None:
    with pytest.raises(MisuseError, match=r"no evaluation\.json"):
        read_evaluation(tmp_path)
    (stored / "per_image.csv").unlink()
    with pytest.raises(MisuseError, match=r"no per_image\.csv"):
        read_evaluation(stored)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("evaluation.json", "{"),
        ("evaluation.json", "[]"),
        ("evaluation.json", '{"n": 1}'),
        ("evaluation.json", '{"protocol": {}, "failures": [{"id": 1}]}'),
        ("per_image.csv", "id,dice\na,0.5\n"),
        ("per_image.csv", "\udcff"),
    ],
)
def test_read_evaluation__damaged(stored: Path, name: str, text: str) -> None:
    (stored / name).write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(DataError, match="cannot read the evaluation"):
        read_evaluation(stored)
