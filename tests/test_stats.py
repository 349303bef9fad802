"""Intervals and paired tests: SciPy as oracle, coverage, seeds, groups and the smallest samples."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from vasomim.stats import bootstrap_ci, crossed_ci, holm, paired_test

samples = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@given(samples)
@settings(max_examples=50, deadline=None)
def test_bootstrap_ci__lies_within_the_values(values: list[float]) -> None:
    low, high = bootstrap_ci(values, n=200)
    assert min(values) <= low <= high <= max(values)


@given(samples, st.randoms())
@settings(max_examples=50, deadline=None)
def test_bootstrap_ci__does_not_depend_on_the_order(values: list[float], random: object) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert bootstrap_ci(values, n=100) == bootstrap_ci(shuffled, n=100)


def test_bootstrap_ci__scipy() -> None:
    values = np.random.default_rng(0).beta(8, 2, 200)
    oracle = scipy_stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert bootstrap_ci(values, n=20_000) == pytest.approx((oracle.low, oracle.high), abs=5e-4)


def test_bootstrap_ci__normal_theory() -> None:
    values = np.random.default_rng(2).normal(0.7, 0.1, 400)
    half = 1.96 * values.std() / 20
    assert bootstrap_ci(values) == pytest.approx((values.mean() - half, values.mean() + half), abs=1.5e-3)


def test_bootstrap_ci__seeded() -> None:
    values = np.random.default_rng(3).random(40)
    assert bootstrap_ci(values, seed=5) == bootstrap_ci(values, seed=5)
    assert bootstrap_ci(values, seed=5) != bootstrap_ci(values, seed=6)


def test_bootstrap_ci__shift_and_scale() -> None:
    values = np.random.default_rng(4).random(50)
    low, high = bootstrap_ci(values)
    assert bootstrap_ci(3 * values + 1) == pytest.approx((3 * low + 1, 3 * high + 1))


def test_bootstrap_ci__smallest_samples() -> None:
    assert np.isnan(bootstrap_ci([])).all()
    assert bootstrap_ci([0.8]) == (0.8, 0.8)
    assert bootstrap_ci([0.1] * 7) == (0.1, 0.1)


def test_bootstrap_ci__blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(5).random(30)
    whole = bootstrap_ci(values)
    monkeypatch.setattr("vasomim.stats._BLOCK", 64)
    assert bootstrap_ci(values) == whole


def test_bootstrap_ci__one_frame_a_group_is_no_grouping() -> None:
    values = np.random.default_rng(6).random(60)
    assert bootstrap_ci(values, groups=[f"p{i}" for i in range(60)]) == pytest.approx(bootstrap_ci(values), abs=1e-12)


def test_bootstrap_ci__frames_of_one_patient_do_not_narrow_it() -> None:
    patients = np.random.default_rng(7).random(20)
    frames, groups = np.repeat(patients, 10), np.repeat(np.arange(20), 10).tolist()
    assert bootstrap_ci(frames, groups=groups) == pytest.approx(bootstrap_ci(patients), abs=1e-12)
    low, high = bootstrap_ci(frames)
    assert high - low < 0.5 * np.diff(bootstrap_ci(frames, groups=groups))[0]


def test_bootstrap_ci__groups_in_any_order_and_size() -> None:
    rng = np.random.default_rng(8)
    values, groups = rng.random(50), rng.integers(0, 9, 50)
    order = rng.permutation(50)
    expected = bootstrap_ci(values, groups=groups.tolist())
    assert bootstrap_ci(values[order], groups=groups[order].tolist()) == pytest.approx(expected, abs=1e-12)
    assert bootstrap_ci([0.2, 0.4, 0.6], groups=["a"] * 3) == pytest.approx((0.4, 0.4))


def test_bootstrap_ci__covers_the_truth() -> None:
    rng = np.random.default_rng(9)
    hits = 0
    for trial in range(200):
        low, high = bootstrap_ci(rng.beta(6, 2, 60), n=400, seed=trial)
        hits += low <= 0.75 <= high
    assert 0.90 <= hits / 200 <= 0.99


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"values": [0.1, np.nan]}, "finite"),
        ({"values": [[0.1]]}, "one value a frame"),
        ({"values": [0.1], "n": 0}, "n >= 1"),
        ({"values": [0.1], "level": 1.0}, "level"),
        ({"values": [0.1], "groups": ["a", "b"]}, "one group a value"),
    ],
)
def test_bootstrap_ci__bad_input(kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bootstrap_ci(**kwargs)  # type: ignore[arg-type]


def test_paired_test__scipys_permutation_test_exact() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(10), rng.random(10)
    oracle = scipy_stats.permutation_test(
        (a - b,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert paired_test(a, b).p_value == pytest.approx(oracle.pvalue)


def test_paired_test__many_pairs_agree_with_the_t_test() -> None:
    rng = np.random.default_rng(1)
    b = rng.random(200)
    a = b + rng.normal(0.012, 0.1, 200)
    assert paired_test(a, b).p_value == pytest.approx(scipy_stats.ttest_rel(a, b).pvalue, abs=0.015)


def test_paired_test__a_clear_difference() -> None:
    rng = np.random.default_rng(2)
    b = rng.random(100)
    result = paired_test(b + 0.05 + rng.normal(0, 0.02, 100), b)
    assert result.n == 100
    assert result.difference == pytest.approx(result.mean_a - result.mean_b)
    assert 0.04 < result.ci95[0] < result.difference < result.ci95[1] < 0.06
    assert result.p_value == pytest.approx(1 / 10_001)


def test_paired_test__swapping_the_methods() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.random(40), rng.random(40)
    there, back = paired_test(a, b), paired_test(b, a)
    assert there.difference == -back.difference
    assert there.p_value == pytest.approx(back.p_value, abs=0.02)
    assert there.ci95 == pytest.approx((-back.ci95[1], -back.ci95[0]), abs=0.01)


def test_paired_test__does_not_depend_on_the_order() -> None:
    rng = np.random.default_rng(4)
    a, b, order = rng.random(40), rng.random(40), rng.permutation(40)
    there, shuffled = paired_test(a, b), paired_test(a[order], b[order])
    assert there.p_value == shuffled.p_value
    assert there.ci95 == shuffled.ci95


def test_paired_test__no_difference() -> None:
    values = np.random.default_rng(5).random(30)
    result = paired_test(values, values)
    assert (result.difference, result.ci95, result.p_value) == (0.0, (0.0, 0.0), 1.0)


def test_paired_test__smallest_samples() -> None:
    nothing = paired_test([], [])
    assert nothing.n == 0
    assert np.isnan([nothing.mean_a, nothing.difference, *nothing.ci95, nothing.p_value]).all()
    one = paired_test([0.9], [0.1])
    assert one.p_value == 1.0
    assert one.ci95 == pytest.approx((0.8, 0.8))


def test_paired_test__groups_flip_together() -> None:
    a, b = np.full(60, 0.6), np.full(60, 0.5)
    assert paired_test(a, b).p_value < 0.001
    assert paired_test(a, b, groups=["x", "y", "z"] * 20).p_value == 0.25


def test_paired_test__is_calibrated_under_the_null() -> None:
    rng = np.random.default_rng(6)
    p_values = [paired_test(*rng.random((2, 20)), n=1, permutations=400, seed=i).p_value for i in range(200)]
    assert 0.02 <= np.mean(np.array(p_values) <= 0.05) <= 0.09


def test_paired_test__bad_input() -> None:
    with pytest.raises(ValueError, match="pair them"):
        paired_test([0.1, 0.2], [0.1])
    with pytest.raises(ValueError, match="finite"):
        paired_test([np.inf], [0.1])


def test_crossed_ci__one_seed_is_the_t_interval_over_frames() -> None:
    values = np.random.default_rng(0).normal(0.7, 0.1, 200)
    textbook = scipy.stats.t.interval(0.95, 199, values.mean(), scipy.stats.sem(values))
    assert crossed_ci(values[None]) == pytest.approx(textbook)
    assert crossed_ci(values[None]) == pytest.approx(bootstrap_ci(values, n=8000), abs=0.002)
    assert crossed_ci(np.full((3, 5), 0.4)) == pytest.approx((0.4, 0.4))
    assert crossed_ci([[0.3]]) == (0.3, 0.3)


def test_crossed_ci__where_only_seeds_differ_it_is_their_t_interval() -> None:
    of_seeds = np.array([0.71, 0.74, 0.72])
    textbook = scipy.stats.t.interval(0.95, 2, of_seeds.mean(), scipy.stats.sem(of_seeds))
    assert crossed_ci(np.repeat(of_seeds[:, None], 50, axis=1)) == pytest.approx(textbook)


def test_crossed_ci__two_seeds_that_agree_by_chance_prove_little() -> None:
    """Drawn anew, two seeds of one sign always give that sign; t knows how little two of them say."""
    frames = np.random.default_rng(1).normal(0, 0.001, 200)
    low, _ = crossed_ci(np.stack([frames + 0.005, frames + 0.015]))
    assert low < 0


@pytest.mark.parametrize(("seeds", "most"), [(2, 0.14), (3, 0.09), (8, 0.07)])
def test_crossed_ci__misses_the_mean_of_crossed_effects_as_often_as_it_says(seeds: int, most: float) -> None:
    rng, missed, trials = np.random.default_rng(2), 0, 1500
    for _ in range(trials):
        of_seeds, of_frames = rng.normal(0, 0.0076, (seeds, 1)), rng.normal(0, 0.035, (1, 200))
        low, high = crossed_ci(of_seeds + of_frames + rng.normal(0, 0.025, (seeds, 200)))
        missed += not low <= 0 <= high
    assert 0.02 <= missed / trials <= most


def test_crossed_ci__groups_count_as_one_and_bad_input_is_refused() -> None:
    of_groups = np.random.default_rng(3).normal(0, 1, (2, 10))
    table = np.repeat(of_groups, 20, axis=1)
    groups = np.repeat(np.arange(10), 20).tolist()
    assert crossed_ci(table, groups=groups) == pytest.approx(crossed_ci(of_groups))
    for bad in ([0.1, 0.2], [[0.1, np.nan]], np.empty((2, 0))):
        with pytest.raises(ValueError, match="every seed and frame"):
            crossed_ci(bad)
    with pytest.raises(ValueError, match="one group a value"):
        crossed_ci(table, groups=[1, 2])


def test_holm__by_hand_and_never_below_the_given() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        holm([1.2])


def test_holm__bounds_the_chance_of_any_false_finding() -> None:
    rng = np.random.default_rng(4)
    assert np.mean([min(holm(rng.random(8))) <= 0.05 for _ in range(2000)]) <= 0.065


@pytest.mark.parametrize("permutations", [0, -5])
def test_paired_test__needs_a_permutation(permutations: int) -> None:
    with pytest.raises(ValueError, match=f"permutations must be at least 1, got {permutations}"):
        paired_test(np.arange(30.0), np.zeros(30), permutations=permutations)
