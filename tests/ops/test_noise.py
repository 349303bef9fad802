"""Counter-based noise: uniform, and a pure function of its counters."""

import pytest
import torch
from torch.testing import assert_close

from vasomim.ops.noise import counter_normal, counter_uniform

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def _mix(x: int) -> int:
    """SplitMix64 finaliser on Python's unbounded integers."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def _reference(seed: int, epoch: int, index: int, count: int) -> list[float]:
    key = _mix((seed + _GOLDEN) & _MASK)
    for part in (epoch, index):
        key = _mix(key ^ ((part + _GOLDEN) & _MASK))
    return [((_mix((key + k * _GOLDEN) & _MASK) >> 41) + 0.5) / 2**23 for k in range(1, count + 1)]


def _noise(seed, epochs, indices, count):
    return counter_uniform(seed, torch.tensor(epochs), torch.tensor(indices), count)


@pytest.mark.parametrize("seed", [0, 1, -1, 2**31, 2**63 - 1, 2**64 - 1, -(2**63)])
def test_counter_uniform__equals_unbounded_integers(seed):
    triples = [(0, 0), (3, 5), (2**40, 2**62), (-1, -7)]
    noise = _noise(seed, [e for e, _ in triples], [i for _, i in triples], 9)
    expected = torch.tensor([_reference(seed & _MASK, e, i, 9) for e, i in triples], dtype=torch.float64)
    assert torch.equal(noise.double(), expected)


def test_counter_uniform__golden_values():
    golden = [
        [0.28723257780075073, 0.47149497270584106, 0.8603069186210632],
        [0.15845590829849243, 0.3698362708091736, 0.5268823504447937],
    ]  # frozen: a change here changes every mask of every resumed run
    noise = _noise(42, [0, 7], [0, 123], 3)
    assert noise.dtype == torch.float32
    assert_close(noise, torch.tensor(golden), rtol=0, atol=0)


def test_counter_uniform__is_uniform_and_inside_0_1():
    noise = counter_uniform(3, torch.arange(200) % 10, torch.arange(200), 1000)
    assert 0 < noise.min() < 1e-4
    assert 1 - 1e-4 < noise.max() < 1
    counts = torch.histc(noise, 64, 0, 1)
    expected = noise.numel() / 64
    assert ((counts - expected) ** 2 / expected).sum() < 110  # chi-square, 63 degrees of freedom: 99.98 %


def test_counter_uniform__streams_are_uncorrelated():
    index = torch.arange(64)
    rows = [counter_uniform(seed, torch.full((64,), epoch), index, 500) for seed in (0, 1) for epoch in (0, 1)]
    correlation = torch.corrcoef(torch.cat(rows)).abs() - torch.eye(256)
    assert correlation.max() < 0.25  # 256 rows of 500: the largest of 32,640 is about 0.19
    assert correlation.mean() < 0.04


def test_counter_uniform__does_not_depend_on_the_batch():
    together = _noise(5, [1, 2, 3], [10, 20, 30], 50)
    assert torch.equal(_noise(5, [2], [20], 50)[0], together[1])
    assert torch.equal(_noise(5, [3, 1], [30, 10], 50), together[[2, 0]])
    assert torch.equal(_noise(5, [1, 2, 3], [10, 20, 30], 20), together[:, :20])


def test_counter_uniform__swapped_counters_differ():
    noise = _noise(1, [1, 2, 0, 3], [2, 1, 3, 0], 20)
    assert len({tuple(row.tolist()) for row in noise}) == 4
    assert not torch.equal(_noise(2, [1], [1], 20), _noise(1, [2], [1], 20))


def test_counter_uniform__extremes_are_safe_for_logarithms():
    smallest, largest = torch.tensor(0.5 * 2.0**-23), torch.tensor((2.0**23 - 0.5) * 2.0**-23)
    assert smallest.log().isfinite()
    assert largest < 1
    assert (-largest.log()).log().isfinite()


@pytest.mark.parametrize(
    ("epoch", "index"),
    [
        (torch.zeros(2), torch.zeros(2)),
        (torch.zeros(2, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)),
        (torch.zeros(2, 1, dtype=torch.int64), torch.zeros(2, 1, dtype=torch.int64)),
        (torch.zeros(2, dtype=torch.int64), torch.zeros(2, dtype=torch.int32)),
    ],
)
def test_counter_uniform__refuses_other_counters(epoch, index):
    with pytest.raises(ValueError, match="1-D int64 tensors of one length"):
        counter_uniform(0, epoch, index, 4)


def test_counter_normal__is_normal_and_a_function_of_its_counters() -> None:
    epoch, index = torch.zeros(40, dtype=torch.int64), torch.arange(40)
    noise = counter_normal(3, epoch, index, 5001)
    assert noise.shape == (40, 5001)
    values = noise.flatten().double()
    assert abs(values.mean()) < 0.01
    assert abs(values.std() - 1) < 0.01
    assert abs((values**4).mean() - 3) < 0.1
    rows = noise[:, :2500].double()
    assert (torch.corrcoef(rows) - torch.eye(40)).abs().max() < 0.12
    assert torch.equal(counter_normal(3, epoch[:3], index[[7, 2, 9]], 5001), noise[[7, 2, 9]])
    assert not torch.equal(counter_normal(4, epoch, index, 5001), noise)
