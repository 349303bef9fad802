"""Metrics: the four empty cases, invariants, and MONAI, SciPy and scikit-image as oracles."""

import warnings
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from scipy.spatial.distance import cdist
from skimage.measure import euler_number
from skimage.metrics import hausdorff_distance

from vasomim import metrics
from vasomim.metrics import (
    METRICS,
    WIDTH_CLASSES,
    MaskPair,
    assd,
    betti_error,
    betti_errors,
    betti_numbers,
    calibration_error,
    cldice,
    dice,
    hd95,
    image_metrics,
    iou,
    pooled_scores,
    precision,
    recall,
    reliability_counts,
    scores_by_width,
    width_counts,
)

FRACTIONS = (dice, iou, precision, recall, cldice)
DISTANCES = (hd95, assd)
EVERY = (*FRACTIONS, *DISTANCES, betti_error)
SYMMETRIC = (dice, iou, cldice, hd95, assd, betti_error)

shapes = st.tuples(st.integers(1, 20), st.integers(1, 20))
pairs = shapes.flatmap(lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape)))
single = shapes.flatmap(lambda shape: arrays(bool, shape))


def blobs(seed: int, shape: tuple[int, int] = (48, 64), level: float = 0.62) -> np.ndarray:
    """Smooth random shapes with holes."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), 2)
    return noise > np.quantile(noise, level)


@pytest.mark.parametrize("metric", FRACTIONS)
def test_fractions__empty_masks(metric: Callable[..., float]) -> None:
    empty, full = np.zeros((6, 8), bool), np.zeros((6, 8), bool)
    full[2:4, 3:6] = True
    assert metric(empty, empty) == 1.0
    assert metric(empty, full) == 0.0
    assert metric(full, empty) == 0.0
    assert metric(full, full) == 1.0


@pytest.mark.parametrize("metric", DISTANCES)
def test_distances__empty_masks(metric: Callable[..., float]) -> None:
    empty, full = np.zeros((6, 8), bool), np.zeros((6, 8), bool)
    full[2:4, 3:6] = True
    assert metric(empty, empty) == 0.0
    assert metric(empty, full) == 10.0
    assert metric(full, empty) == 10.0
    assert metric(full, full) == 0.0


def test_betti_error__empty_masks() -> None:
    empty, ring = np.zeros((7, 7), bool), np.zeros((7, 7), bool)
    ring[1:6, 1:6] = True
    ring[3, 3] = False
    assert betti_errors(empty, empty) == (0, 0)
    assert betti_errors(empty, ring) == betti_errors(ring, empty) == (1, 1)
    assert betti_error(empty, ring) == 2.0


@given(single)
@settings(max_examples=60, deadline=None)
def test_every_metric__of_equal_masks_is_exactly_perfect(mask: np.ndarray) -> None:
    assert [metric(mask, mask) for metric in FRACTIONS] == [1.0] * 5
    assert [metric(mask, mask) for metric in DISTANCES] == [0.0] * 2
    assert betti_error(mask, mask) == 0.0


@given(pairs)
@settings(max_examples=100, deadline=None)
def test_every_metric__bounds_and_no_nan(pair: tuple[np.ndarray, np.ndarray]) -> None:
    values = image_metrics(MaskPair(*pair))
    assert list(values) == list(METRICS)
    assert all(type(value) is float and np.isfinite(value) and value >= 0 for value in values.values())
    assert all(values[name] <= 1 for name in ("dice", "iou", "precision", "recall", "cldice"))
    assert max(values["hd95"], values["assd"]) <= np.hypot(*pair[0].shape)


@given(pairs)
@settings(max_examples=60, deadline=None)
def test_every_metric__symmetry(pair: tuple[np.ndarray, np.ndarray]) -> None:
    pred, target = pair
    for metric in SYMMETRIC:
        assert metric(pred, target) == pytest.approx(metric(target, pred), abs=1e-12)
    assert precision(pred, target) == recall(target, pred)


@given(pairs, st.integers(0, 3), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_metric__rotation_and_flip(pair: tuple[np.ndarray, np.ndarray], turns: int, flip: bool) -> None:
    """clDice is left out: Zhang-Suen thinning itself is not symmetric."""
    turned = [np.rot90(mask[:, ::-1] if flip else mask, turns) for mask in pair]
    for metric in (dice, iou, precision, recall, hd95, assd, betti_error):
        assert metric(*turned) == pytest.approx(metric(*pair), abs=1e-12)


@given(pairs.filter(lambda pair: pair[0].any() and pair[1].any()), st.integers(0, 5), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_every_metric__a_margin_changes_nothing(pair: tuple[np.ndarray, np.ndarray], above: int, left: int) -> None:
    padded = [np.pad(mask, ((above, 2), (left, 3))) for mask in pair]
    for metric in EVERY:
        assert metric(*padded) == metric(*pair)


@given(pairs)
@settings(max_examples=60, deadline=None)
def test_dice_and_iou__follow_from_each_other(pair: tuple[np.ndarray, np.ndarray]) -> None:
    overlap = iou(*pair)
    assert dice(*pair) == pytest.approx(2 * overlap / (1 + overlap))


@pytest.mark.parametrize("metric", EVERY)
def test_every_metric__accepts_tensors_and_integers(metric: Callable[..., float]) -> None:
    pred, target = blobs(0), blobs(1)
    expected = metric(pred, target)
    assert metric(torch.from_numpy(pred), torch.from_numpy(target)) == expected
    assert metric(pred.astype(np.uint8) * 255, target.astype(np.float32)) == expected


@pytest.mark.parametrize("metric", EVERY)
def test_every_metric__bad_input(metric: Callable[..., float]) -> None:
    mask = np.ones((4, 5), bool)
    with pytest.raises(ValueError, match="target's size"):
        metric(mask, mask.T)
    with pytest.raises(ValueError, match="once per frame"):
        metric(mask[None], mask[None])
    with pytest.raises(ValueError, match="threshold the probability"):
        metric(np.full((4, 5), 0.4), mask)
    with pytest.raises(ValueError, match="threshold the probability"):
        metric(np.full((4, 5), np.nan), mask)


def test_cldice__a_thinner_prediction_on_the_centreline_is_perfect() -> None:
    target, pred = np.zeros((40, 40), bool), np.zeros((40, 40), bool)
    target[10:19, 2:38] = True
    pred[13:16, 2:38] = True
    assert cldice(pred, target) == 1.0
    assert dice(pred, target) == 0.5


def test_cldice__a_gap_costs_its_share_of_the_centreline() -> None:
    target = np.zeros((21, 120), bool)
    target[8:13, 10:110] = True
    pred = target.copy()
    pred[:, 50:60] = False
    assert cldice(pred, target) == pytest.approx(2 * 0.9 / 1.9, abs=0.01)


def test_cldice__masks_that_never_meet_score_zero() -> None:
    pred, target = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    pred[2:5], target[12:15] = True, True
    assert cldice(pred, target) == 0.0


@pytest.mark.parametrize("shift", [1, 4, 9])
def test_boundary_distances__of_a_shifted_square(shift: int) -> None:
    target = np.zeros((40, 60), bool)
    target[10:30, 10:30] = True
    pred = np.roll(target, shift, 1)
    assert hd95(pred, target) == shift
    assert 0 < assd(pred, target) < shift


def brute_force_distances(pred: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    edges = [np.argwhere(mask & ~ndimage.binary_erosion(mask)) for mask in (pred, target)]
    between = cdist(*edges)
    return between.min(axis=1), between.min(axis=0)


@given(pairs.filter(lambda pair: pair[0].any() and pair[1].any()))
@settings(max_examples=60, deadline=None)
def test_boundary_distances__brute_force(pair: tuple[np.ndarray, np.ndarray]) -> None:
    forward, backward = brute_force_distances(*pair)
    assert hd95(*pair) == pytest.approx(max(np.percentile(forward, 95), np.percentile(backward, 95)), abs=1e-9)
    assert assd(*pair) == pytest.approx(np.concatenate([forward, backward]).mean(), abs=1e-9)
    assert max(d.max() for d in MaskPair(*pair).boundary_distances) == pytest.approx(
        hausdorff_distance(*(mask & ~ndimage.binary_erosion(mask) for mask in pair))
    )


@pytest.fixture(scope="module")
def monai_metrics() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("monai.metrics", reason="pip install monai to compare with it")


@pytest.mark.parametrize("seed", range(5))
def test_metrics__monai(monai_metrics: ModuleType, seed: int) -> None:
    pred, target = blobs(seed, level=0.8), blobs(seed + 50, level=0.7)
    batch = [torch.from_numpy(mask)[None, None].float() for mask in (pred, target)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {
            "dice": monai_metrics.compute_dice(*batch),
            "iou": monai_metrics.compute_iou(*batch),
            "hd95": monai_metrics.compute_hausdorff_distance(*batch, percentile=95),
            "assd": monai_metrics.compute_average_surface_distance(*batch, symmetric=True),
        }
    values = image_metrics(MaskPair(pred, target))
    assert {name: values[name] for name in expected} == pytest.approx({k: float(v) for k, v in expected.items()}, 1e-5)


@given(single)
@settings(max_examples=100, deadline=None)
def test_betti_numbers__scipy_and_euler_number(mask: np.ndarray) -> None:
    components, holes = betti_numbers(mask)
    assert components == ndimage.label(mask, np.ones((3, 3)))[1]
    assert holes == ndimage.label(~np.pad(mask, 1))[1] - 1
    assert components - holes == euler_number(mask, connectivity=2)


def test_betti_numbers__connectivity() -> None:
    diagonal = np.eye(5, dtype=bool)
    assert betti_numbers(diagonal) == (1, 0)
    diamond = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], bool)
    assert betti_numbers(diamond) == (1, 1)
    bay = np.array([[1, 0, 1], [1, 1, 1]], bool)
    assert betti_numbers(bay) == (1, 0)


def band(width: int, row: int, shape: tuple[int, int] = (120, 160)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[row : row + width, 20:140] = True
    return mask


@pytest.mark.parametrize(
    ("width", "name"),
    [(1, "<3"), (2, "<3"), (3, "3-6"), (6, "3-6"), (7, "6-12"), (12, "6-12"), (13, ">12"), (20, ">12")],
)
def test_width_counts__a_band_falls_into_its_class(width: int, name: str) -> None:
    mask = band(width, 50)
    counts = width_counts(MaskPair(mask, mask))
    assert counts.shape == (4, 8)
    assert counts[:, 0].sum() == mask.sum()
    assert counts[WIDTH_CLASSES.index(name), 0] > 0.85 * mask.sum()
    assert np.array_equal(counts[:, 0], counts[:, 1])
    assert np.array_equal(counts[:, 2], counts[:, 3])


def test_width_counts__scale_gives_classes_in_native_pixels() -> None:
    mask = band(2, 50)
    counts = width_counts(MaskPair(mask, mask), scale=512 / 224)
    assert counts[WIDTH_CLASSES.index("3-6"), 0] > 0.85 * mask.sum()


def test_scores_by_width__a_missed_thin_vessel_shows_in_its_class_alone() -> None:
    thin, wide = band(2, 20), band(15, 80)
    table = scores_by_width(width_counts(MaskPair(wide, thin | wide)))
    assert table["<3"]["recall"] == table["<3"]["centreline_recall"] == table["<3"]["dice"] == 0.0
    assert table[">12"]["recall"] == table[">12"]["centreline_recall"] == 1.0
    assert table["3-6"]["recall"] is None or table["3-6"]["recall"] == 1.0


def test_scores_by_width__a_false_thin_vessel_costs_precision_in_its_class() -> None:
    thin, wide = band(2, 20), band(15, 80)
    table = scores_by_width(width_counts(MaskPair(thin | wide, wide)))
    assert table["<3"]["precision"] == 0.0
    assert table["<3"]["recall"] is None
    assert table[">12"]["precision"] == 1.0


@given(pairs)
@settings(max_examples=60, deadline=None)
def test_width_counts__classes_add_up_to_the_counts(pair: tuple[np.ndarray, np.ndarray]) -> None:
    both = MaskPair(*pair)
    tp, fp, fn, _ = both.counts
    total = width_counts(both).sum(axis=0)
    assert total[[0, 1, 4, 5]].tolist() == [tp + fn, tp, tp + fp, tp]
    assert total[2] == both.target_skeleton.sum()


def test_pooled_scores__are_those_of_one_large_frame() -> None:
    preds, targets = [blobs(seed) for seed in range(3)], [blobs(seed + 9) for seed in range(3)]
    tp, fp, fn, tn = np.sum([MaskPair(p, t).counts for p, t in zip(preds, targets, strict=True)], axis=0).tolist()
    assert tp + fp + fn + tn == 3 * preds[0].size
    whole = image_metrics(MaskPair(np.vstack(preds), np.vstack(targets)))
    pooled = pooled_scores(tp, fp, fn)
    assert pooled == pytest.approx({name: whole[name] for name in pooled})


@pytest.mark.parametrize(("counts", "score"), [((0, 0, 0), 1.0), ((0, 3, 0), 0.0), ((0, 0, 3), 0.0)])
def test_pooled_scores__empty(counts: tuple[int, int, int], score: float) -> None:
    assert set(pooled_scores(*counts).values()) == {score}


def test_calibration__of_frequencies_that_match_is_small_and_of_certainty_that_errs_large() -> None:
    rng = np.random.default_rng(0)
    probability = rng.random((400, 400), dtype=np.float32)
    honest = rng.random((400, 400)) < probability
    assert calibration_error(reliability_counts(probability, honest)) < 0.01
    wrong = calibration_error(reliability_counts(np.ones((8, 8)), np.zeros((8, 8), bool)))
    assert wrong == 1.0


def test_reliability_counts__bins() -> None:
    counts = reliability_counts(np.array([[0.0, 0.05, 0.95, 1.0]]), np.array([[0, 1, 1, 1]], bool), bins=10)
    assert counts[0].tolist() == pytest.approx([2, 0.05, 1])
    assert counts[9].tolist() == pytest.approx([2, 1.95, 2])
    assert counts[:, 0].sum() == 4


@pytest.mark.parametrize("bad", [-0.1, 1.1, np.nan])
def test_reliability_counts__refuses_what_is_no_probability(bad: float) -> None:
    with pytest.raises(ValueError, match="must lie in \\[0, 1\\]"):
        reliability_counts(np.full((2, 2), bad), np.zeros((2, 2), bool))


def test_reliability_counts__refuses_another_shape() -> None:
    with pytest.raises(ValueError, match="both must be"):
        reliability_counts(np.zeros((2, 3)), np.zeros((3, 2), bool))


def test_public_functions__agree_with_the_table() -> None:
    pair = MaskPair(blobs(3), blobs(4))
    values = image_metrics(pair)
    for name in ("dice", "iou", "precision", "recall", "cldice", "hd95", "assd", "betti_error"):
        assert getattr(metrics, name)(blobs(3), blobs(4)) == values[name]
    assert betti_errors(blobs(3), blobs(4)) == (values["betti0_error"], values["betti1_error"])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
def test_metrics__refuse_a_probability_stored_as_grey(dtype: type) -> None:
    target = blobs(0)
    grey = (ndimage.gaussian_filter(target.astype(float), 2) * 255).astype(dtype)
    for metric in EVERY:
        with pytest.raises(ValueError, match=r"pred is u?int\d+ with more values .*; threshold the probability first"):
            metric(grey, target)


def test_metrics__refuse_negative_marks() -> None:
    mask = blobs(0).astype(np.int16)
    ignoring = mask.copy()
    ignoring[:4] = -1
    for pred, target, name in ((ignoring, mask, "pred"), (mask, ignoring, "target")):
        with pytest.raises(ValueError, match=f"{name} holds -1; need 0 for background"):
            dice(pred, target)


def test_metrics__take_masks_of_two_grey_levels_and_targets_of_classes() -> None:
    mask = blobs(0)
    classes = mask * np.random.default_rng(0).integers(1, 26, mask.shape)
    for level in (1, 128, 255):
        assert dice((mask * level).astype(np.uint8), classes) == 1.0
    assert dice(np.zeros_like(classes), classes) == 0.0
    assert dice(torch.from_numpy(mask * 7), mask) == 1.0
