"""The evaluation card: streamed, complete, reproducible, and without NaN."""

import csv
import io
import json
import os
import re
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from vasomim import metrics
from vasomim.data.open import open_labelled
from vasomim.engine.evaluation import Case, EvaluationCard, Failure, evaluate
from vasomim.engine.evaluation_page import Picture
from vasomim.errors import DataError, VasomimError
from vasomim.stats import bootstrap_ci


def maps(seed: int, shape: tuple[int, int] = (40, 56)) -> tuple[np.ndarray, np.ndarray]:
    """A probability map and a label that it resembles."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.random(shape), 2.5)
    target = smooth > np.quantile(smooth, 0.85)
    noise = ndimage.gaussian_filter(rng.random(shape), 1.5) - 0.5
    probability = np.clip(ndimage.gaussian_filter(target.astype(float), 1.2) + 0.6 * noise, 0, 1)
    return probability.astype(np.float32), target


def cases(count: int, **more: object) -> Iterator[Case]:
    for k in range(count):
        yield Case(f"frame_{k}", *maps(k), **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def card() -> EvaluationCard:
    return evaluate(cases(9), 0.4, protocol={"rasteriser": "arcade-official", "size": "native"}, resamples=200)


def test_evaluate__means_are_of_per_image_values(card: EvaluationCard) -> None:
    values = [metrics.dice(p >= np.float32(0.4), t) for p, t in map(maps, range(9))]
    assert card.to_dict()["metrics"]["dice"]["mean"] == pytest.approx(np.mean(values))
    assert card.values("dice").tolist() == values
    assert card.to_dict()["metrics"]["dice"]["ci95"] == list(bootstrap_ci(values, 200))


def test_evaluate__pooled_counts_all_pixels_together(card: EvaluationCard) -> None:
    pairs = [maps(k) for k in range(9)]
    pred, target = np.vstack([p for p, _ in pairs]) >= np.float32(0.4), np.vstack([t for _, t in pairs])
    pooled = card.to_dict()["pooled"]
    assert pooled == pytest.approx({name: getattr(metrics, name)(pred, target) for name in pooled})


def test_card__layout_of_the_json(card: EvaluationCard) -> None:
    values = json.loads(card.to_json())
    assert list(values) == ["n", "metrics", "pooled", "by_width", "protocol", "failures", "trained_on", "calibration"]
    assert values["failures"] == []
    assert values["n"] == 9
    assert list(values["metrics"]) == list(metrics.METRICS)
    assert all(set(score) == {"mean", "ci95"} and len(score["ci95"]) == 2 for score in values["metrics"].values())
    assert list(values["by_width"]) == list(metrics.WIDTH_CLASSES)
    assert {"threshold", "average", "rasteriser", "size", "data"} <= set(values["protocol"])
    assert values["protocol"]["threshold"] == 0.4
    assert values["protocol"]["average"] == "per-image"
    assert sum(b["pixels"] for b in values["calibration"]["bins"]) == 9 * 40 * 56


def test_card__csv_holds_every_value_in_full(card: EvaluationCard) -> None:
    rows = list(csv.DictReader(io.StringIO(card.to_csv())))
    assert [row["id"] for row in rows] == card.ids
    for name in metrics.METRICS:
        assert [float(row[name]) for row in rows] == card.values(name).tolist()
    assert all(sum(int(row[c]) for c in ("tp", "fp", "fn", "tn")) == 40 * 56 for row in rows)


def test_evaluate__threads_and_order_do_not_change_a_number(card: EvaluationCard) -> None:
    protocol = {"rasteriser": "arcade-official", "size": "native"}
    for workers, order in ((1, list(cases(9))), (3, list(cases(9))[::-1])):
        again = evaluate(order, 0.4, protocol=protocol, resamples=200, workers=workers).to_dict()
        expected = card.to_dict()
        assert again["protocol"] == expected["protocol"]
        assert again["by_width"] == expected["by_width"]
        for name, score in expected["metrics"].items():
            assert again["metrics"][name]["mean"] == pytest.approx(score["mean"], abs=1e-12)
            assert again["metrics"][name]["ci95"] == score["ci95"]


def test_evaluate__plain_tuples_and_masks() -> None:
    soft = evaluate([(f"{k}", *maps(k)) for k in range(3)], 0.5)
    hard = evaluate([(f"{k}", maps(k)[0] >= 0.5, maps(k)[1]) for k in range(3)])
    assert hard.to_dict()["metrics"] == soft.to_dict()["metrics"]
    assert "calibration" not in hard.to_dict()
    assert hard.protocol["threshold"] is None


def test_evaluate__high_threshold_leaves_pieces_out() -> None:
    target = np.zeros((20, 40), bool)
    target[10, 5:30] = True
    probability = np.where(target, np.float32(0.9), np.float32(0))
    probability[2, 2:5] = 0.6
    every, sure = (evaluate([("a", probability, target)], 0.5, high_threshold=high) for high in (0.0, 0.8))
    assert every.mean("precision") < 1 == sure.mean("precision")
    assert sure.protocol["high_threshold"] == 0.8


def test_evaluate__patients_are_resampled_whole() -> None:
    frames = [Case(f"{k}", *maps(k), patient=f"p{k // 3}") for k in range(9)]
    card = evaluate(frames, resamples=300)
    groups = [f"p{k // 3}" for k in range(9)]
    assert card.interval("dice") == bootstrap_ci(card.values("dice"), 300, groups=groups)
    assert "of patients" in card.protocol["interval"]
    mixed = evaluate([*frames, Case("x", *maps(9))], resamples=300)
    assert "of frames" in mixed.protocol["interval"]


def test_evaluate__empty_frames_count_and_leave_no_nan(tmp_path: Path) -> None:
    empty, vessel = np.zeros((30, 40), np.float32), maps(1, (30, 40))[1]
    card = evaluate(
        [("both", empty, empty > 0), ("missed", empty, vessel), ("alarm", vessel * np.float32(1), empty > 0)]
    )
    assert card.mean("dice") == card.mean("cldice") == card.mean("recall") == pytest.approx(1 / 3)
    assert card.mean("hd95") == pytest.approx(50 * 2 / 3)
    card.write(tmp_path, lambda _: Picture(empty, empty > 0, vessel))
    assert "NaN" not in (tmp_path / "evaluation.json").read_text()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_card__few_frames_are_shown_once(count: int) -> None:
    card = evaluate(cases(count))
    shown: list[str] = []

    def fetch(name: str) -> Picture:
        shown.append(name)
        probability, target = maps(int(name.split("_")[1]))
        return Picture(probability, probability > 0.5, target)

    card.to_html(fetch)
    assert sorted(shown) == sorted(card.ids)


def test_write__three_files_and_an_offline_page(card: EvaluationCard, tmp_path: Path) -> None:
    def fetch(name: str) -> Picture:
        probability, target = maps(int(name.split("_")[1]))
        return Picture(probability, probability >= 0.4, target)

    card.write(tmp_path / "new" / "folder", fetch)
    names = sorted(path.name for path in (tmp_path / "new" / "folder").iterdir())
    assert names == ["evaluation.json", "per_image.csv", "report.html"]
    page = (tmp_path / "new" / "folder" / "report.html").read_text()
    worst, best = card.ranked()[0], card.ranked()[-1]
    assert page.index(f"{worst.id}: Dice") < page.index(f"{best.id}: Dice")
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", page)
    assert page.count("data:image/png") == 9


def test_write__a_folder_that_cannot_be_made(card: EvaluationCard, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VasomimError, match="cannot write"):
        card.write(tmp_path / "file" / "out")


def test_write__names_are_escaped(tmp_path: Path) -> None:
    probability, target = maps(0)
    card = evaluate([("<script>", probability, target)], protocol={"weights": "<b>"})
    card.write(tmp_path, lambda _: Picture(probability, target, target))
    page = (tmp_path / "report.html").read_text()
    assert "<script>" not in page
    assert "<b>" not in page


def test_evaluate__memory_does_not_grow_with_frames() -> None:
    probability, target = maps(0, (128, 128))

    def peak(count: int) -> int:
        tracemalloc.start()
        evaluate(((f"{k}", probability.copy(), target.copy()) for k in range(count)), workers=2, resamples=10)
        _, high = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return high

    peak(4)
    # How many frames meet in memory is up to the threads: a few hundred KiB, whatever the number of frames.
    assert peak(240) < peak(15) + 225 * 4096


def test_evaluate__reads_only_a_few_frames_ahead() -> None:
    made: list[int] = []
    done: list[int] = []

    def produce() -> Iterator[Case]:
        for k, case in enumerate(cases(20)):
            made.append(k)
            assert len(made) - len(done) <= 5
            yield case

    evaluate(produce(), workers=2, resamples=10, progress=done.append)
    assert sum(done) == 20


def test_fingerprint__knows_labels_and_ids_not_predictions() -> None:
    probability, target = maps(0)
    base = evaluate([("a", probability, target)]).protocol["data"]
    assert evaluate([("a", 1 - probability, target)]).protocol["data"] == base
    assert evaluate([("b", probability, target)]).protocol["data"] != base
    assert evaluate([("a", probability, ~target)]).protocol["data"] != base


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([], "no labelled frame"),
        ([("a", *maps(0)), ("a", *maps(1))], "a occurs twice"),
        ([("a", maps(0)[0][:9], maps(0)[1])], "frame a cannot be measured"),
        ([("a", maps(0)[0] * np.float32(np.nan), maps(0)[1])], "frame a cannot be measured"),
        ([("a", maps(0)[0] * 9, maps(0)[1])], "frame a cannot be measured"),
        ([("a", *maps(0)), ("b", maps(1)[1], maps(1)[1])], "one kind"),
    ],
)
def test_evaluate__bad_input(bad: list[tuple[str, np.ndarray, np.ndarray]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        evaluate(bad)


def test_evaluate__measures_the_others_where_it_is_told_of_failures(tmp_path: Path) -> None:
    told: list[Failure] = []
    flat = Case("flat", maps(7)[0][:9], maps(7)[1])
    card = evaluate([flat, *cases(3), Failure("gone", "cannot read gone.png")], resamples=10, failed=told.append)
    assert told == list(card.failures)
    assert [failure.id for failure in told] == ["flat", "gone"]
    assert card.protocol["data"] == evaluate(cases(3), resamples=10).protocol["data"]
    values = card.to_dict()
    assert values["n"] == 3
    assert values["failures"][1] == {"id": "gone", "reason": "cannot read gone.png"}
    card.write(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "3 frames (2 could not be measured)" in page
    assert "cannot read gone.png" in page


def test_evaluate__one_line_where_no_frame_can_be_measured() -> None:
    with pytest.raises(DataError, match=r"^none of 2 frames can be measured; the first one: cannot read a$"):
        evaluate([Failure(name, f"cannot read {name}") for name in "ab"], failed=lambda _: None)


def test_evaluate__a_failure_of_the_source_stops_where_nobody_is_told() -> None:
    with pytest.raises(DataError, match="cannot read a"):
        evaluate([*cases(2), Failure("a", "cannot read a")])


def test_fingerprint__takes_names_that_are_no_utf8(tmp_path: Path) -> None:
    names = [os.fsdecode(bytes([byte])) for byte in (0xE9, 0xE8)]
    first, second = (evaluate([(name, *maps(0))], resamples=10) for name in names)
    assert first.protocol["data"] != second.protocol["data"]
    first.write(tmp_path)
    assert (tmp_path / "per_image.csv").read_text(encoding="utf-8").splitlines()[1].startswith("\\udce9,")


def test_evaluate__bad_threshold() -> None:
    with pytest.raises(ValueError, match="threshold must lie"):
        evaluate(cases(1), 40.0)


def test_evaluate__an_error_of_the_source_comes_through() -> None:
    def broken() -> Iterator[Case]:
        yield from cases(2)
        raise DataError("cannot decode frame_2.png")

    with pytest.raises(DataError, match="cannot decode"):
        evaluate(broken())


@pytest.mark.real
def test_evaluate__two_annotators_of_one_frame() -> None:
    """ARCADE holds frames twice, outlined by two people; their Dice is known from outside this package."""
    root = Path(os.environ.get("VASOMIM_DATA", "")) / "arcade/syntax/train"
    if not (os.environ.get("VASOMIM_DATA") and root.is_dir()):
        pytest.skip("VASOMIM_DATA names no folder with arcade/syntax/train")
    dataset = open_labelled([root])
    index = {record.id: k for k, record in enumerate(dataset.records)}
    pairs = [("501", "612"), ("478", "887"), ("20", "214")]
    frames = [[dataset[index[name]] for name in pair] for pair in pairs]
    assert all(np.array_equal(first.image, second.image) for first, second in frames)
    card = evaluate((first.record.id, first.mask, second.mask) for first, second in frames)  # type: ignore[misc]
    assert card.values("dice") == pytest.approx([0.90, 0.93, 0.94], abs=0.005)


def test_card__resamples_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counted(values: np.ndarray, n: int, seed: int, **more: object) -> tuple[float, float]:
        calls.append(n)
        return bootstrap_ci(values, n, seed, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("vasomim.engine.evaluation.bootstrap_ci", counted)
    fresh = evaluate(cases(3), resamples=50)
    assert fresh.to_json() == fresh.to_json()
    assert fresh.interval("dice") == tuple(fresh.to_dict()["metrics"]["dice"]["ci95"])
    assert len(calls) == len(metrics.METRICS)


def test_write__a_page_that_fails_costs_no_numbers(card: EvaluationCard, tmp_path: Path) -> None:
    def gone(name: str) -> Picture:
        raise DataError(f"{name} is gone")

    with pytest.raises(DataError, match="is gone"):
        card.write(str(tmp_path), gone)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evaluation.json", "per_image.csv"]
    assert json.loads((tmp_path / "evaluation.json").read_text()) == json.loads(card.to_json())


def test_evaluate__refuses_a_probability_stored_as_grey() -> None:
    probability, target = maps(0)
    with pytest.raises(DataError, match=r"frame a cannot be measured: pred is uint8 with more values"):
        evaluate([Case("a", (probability * 255).astype(np.uint8), target)])
