from __future__ import annotations

import itertools
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from data_tools import MemoryDataset, grey, memory, save
from torch.utils.data import default_collate

from vasomim.data.augment import JointCrop, WholeFrame
from vasomim.data.open import open_frames, open_labelled
from vasomim.data.stream import SampleStream, epoch_order, make_loader
from vasomim.errors import DataError, MisuseError
from vasomim.types import Sample

CROP = JointCrop(16, rotation=20, intensity=0.5, vessel_aware=2)


def stream(count: int = 7, length: int = 40, seed: int = 3) -> SampleStream:
    return SampleStream(memory(count), CROP, seed=seed, length=length)


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def same(first: list[dict[str, torch.Tensor]], second: list[dict[str, torch.Tensor]]) -> bool:
    return len(first) == len(second) > 0 and all(map(equal, first, second))


def test_sample_stream__every_epoch_visits_each_frame_once() -> None:
    items = [stream()[position] for position in range(40)]
    assert [int(item["epoch"]) for item in items] == [position // 7 for position in range(40)]
    orders = [tuple(int(item["index"]) for item in items[k : k + 7]) for k in range(0, 35, 7)]
    assert all(sorted(order) == list(range(7)) for order in orders)
    assert len(set(orders)) > 1


def test_sample_stream__item_depends_on_seed_epoch_and_index_alone() -> None:
    forward, other = stream(), stream()
    backward = {position: other[position] for position in reversed(range(40))}
    assert all(equal(forward[position], backward[position]) for position in range(40))
    assert not equal(stream(seed=4)[0], stream()[0])


def test_sample_stream__augmentation_differs_between_epochs_and_frames() -> None:
    items = [SampleStream(memory(1), CROP, 0, 5)[position]["image"] for position in range(5)]
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(items, 2))


def test_sample_stream__does_not_touch_global_generators() -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    expected = torch.rand(3), np.random.rand(3)  # noqa: NPY002
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    list(make_loader(stream(), 8))
    assert torch.equal(torch.rand(3), expected[0])
    np.testing.assert_array_equal(np.random.rand(3), expected[1])  # noqa: NPY002


def test_sample_stream__outside_or_empty() -> None:
    for position in (-1, 40):
        with pytest.raises(IndexError, match="stream of length 40"):
            stream()[position]
    with pytest.raises(MisuseError, match="no frame to train on"):
        SampleStream(MemoryDataset([]), CROP, 0, 4)
    with pytest.raises(ValueError, match="negative"):
        SampleStream(memory(1), CROP, -1, 4)


def test_epoch_order__is_fixed_for_good() -> None:
    assert epoch_order(0, 0, 8).tolist() == [3, 2, 1, 6, 0, 7, 4, 5]
    assert sorted(epoch_order(5, 9, 1000)) == list(range(1000))
    assert len({tuple(epoch_order(seed, epoch, 20)) for seed in range(5) for epoch in range(5)}) == 25


@pytest.mark.parametrize(
    "crop", [JointCrop(10), CROP, JointCrop(40), JointCrop(24, native=True, rotation=9), WholeFrame(12)]
)
def test_sample_stream__a_batch_is_its_samples_stacked(crop: JointCrop) -> None:
    samples = SampleStream(memory(9), crop, 1, 60)
    positions = [*range(3, 41), 0]
    stacked = default_collate([samples[position] for position in positions])
    assert equal(samples.batch(positions), stacked)


@pytest.mark.parametrize("num_workers", [1, 3])
def test_make_loader__worker_count_changes_nothing(num_workers: int) -> None:
    assert same(list(make_loader(stream(), 8, num_workers=num_workers)), list(make_loader(stream(), 8)))


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("start", [1, 3, 4])
def test_make_loader__resumed_is_the_tail_to_the_bit(start: int, num_workers: int) -> None:
    whole = list(make_loader(stream(), 8, num_workers=0))
    tail = make_loader(stream(), 8, start=start, num_workers=num_workers)
    assert len(tail) == 5 - start
    assert same(list(tail), whole[start:])


@pytest.mark.parametrize("world_size", [2, 4])
def test_make_loader__ranks_together_are_the_global_batch(world_size: int) -> None:
    parts = [list(make_loader(stream(), 8, start=1, rank=rank, world_size=world_size)) for rank in range(world_size)]
    joined = [{key: torch.cat([part[key] for part in batch]) for key in batch[0]} for batch in zip(*parts, strict=True)]
    assert same(joined, list(make_loader(stream(), 8, start=1)))


def test_make_loader__last_smaller_batch() -> None:
    assert [len(batch["index"]) for batch in make_loader(stream(), 16)] == [16, 16, 8]
    assert [len(batch["index"]) for batch in make_loader(stream(), 16, world_size=2)] == [8, 8]
    assert len(make_loader(stream(), 16)) == 3
    assert list(make_loader(stream(), 16, start=9)) == []


def test_make_loader__iterates_again_from_its_start() -> None:
    loader = make_loader(stream(), 8, start=2)
    assert same(list(loader), list(loader))


def test_make_loader__batches_are_stacked() -> None:
    batch = next(iter(make_loader(stream(), 8)))
    assert batch["image"].shape == (8, 1, 16, 16)
    assert batch["mask"].shape == (8, 16, 16)
    assert batch["index"].dtype == batch["epoch"].dtype == torch.int64


@pytest.mark.parametrize(
    "bad",
    [{"batch_size": 0}, {"start": -1}, {"world_size": 3}, {"rank": 2, "world_size": 2}, {"num_workers": -1}],
)
def test_make_loader__refuses(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="need"):
        make_loader(stream(), **{"batch_size": 8, **bad})


@pytest.mark.parametrize("num_workers", [0, 2])
def test_make_loader__broken_frame_arrives_with_its_own_message(tmp_path: Path, num_workers: int) -> None:
    for index in range(6):
        save(tmp_path / f"{index}.png", grey(index))
    path = tmp_path / "4.png"
    path.write_bytes(path.read_bytes()[:60])
    loader = make_loader(SampleStream(open_frames([tmp_path]), CROP, 0, 6), 2, num_workers=num_workers)
    with pytest.raises(DataError) as caught:
        list(loader)
    assert str(caught.value).startswith(f"{path} is truncated")
    assert "\n" not in str(caught.value)


def test_make_loader__frames_with_and_without_mask_do_not_mix() -> None:
    samples = [*memory(1).samples, Sample(memory(2).samples[1].record, memory(2).samples[1].image)]
    with pytest.raises(DataError, match="different parts"):
        list(make_loader(SampleStream(MemoryDataset(samples), CROP, 0, 2), 2))


def failing(_: Sample, __: np.random.Generator) -> dict[str, torch.Tensor]:
    raise ZeroDivisionError("a mistake of ours")


@pytest.mark.parametrize("num_workers", [0, 1])
def test_make_loader__our_own_mistakes_keep_their_traceback(num_workers: int) -> None:
    with pytest.raises(ZeroDivisionError, match="a mistake of ours"):
        list(make_loader(SampleStream(memory(2), failing, 0, 2), 2, num_workers=num_workers))


def signals(_: Sample, __: np.random.Generator) -> dict[str, torch.Tensor]:
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    return {"threads": torch.tensor(torch.get_num_threads())}


def test_make_loader__workers_outlive_ctrl_c_and_use_one_thread() -> None:
    (batch,) = make_loader(SampleStream(memory(4), signals, 0, 4), 4, num_workers=1)
    assert batch["threads"].tolist() == [1] * 4


def test_sample_stream__can_be_sent_to_a_spawned_worker(masked_folder: Path) -> None:
    whole = SampleStream(open_labelled([masked_folder]), CROP, 0, 6)
    assert equal(pickle.loads(pickle.dumps(whole))[5], whole[5])


def test_make_loader__long_streams_cost_no_memory() -> None:
    loader = make_loader(stream(length=10**12), 8, start=10**11)
    assert next(iter(loader))["index"].shape == (8,)


VIEWS = (JointCrop(16, rotation=20, intensity=0.5), JointCrop(8, scale=(0.1, 0.4)), JointCrop(8, scale=(0.1, 0.4)))


def views_of(count: int = 7, length: int = 40, number: int = 3) -> SampleStream:
    return SampleStream(memory(count), CROP, seed=3, length=length, views=VIEWS[:number])


def test_sample_stream__views_come_beside_the_crop_and_leave_it_as_it_is() -> None:
    plain, several = stream()[5], views_of()[5]
    assert {name: tuple(value.shape) for name, value in several.items() if name.startswith("view")} == {
        "view1": (1, 16, 16),
        "view2": (1, 8, 8),
        "view3": (1, 8, 8),
    }
    assert equal({name: several[name] for name in plain}, plain)


def test_sample_stream__each_view_is_drawn_on_its_own() -> None:
    several = views_of()[5]
    assert not torch.equal(several["image"], several["view1"])
    assert not torch.equal(several["view2"], several["view3"]), "the same transform, another draw"
    fewer = views_of(number=2)[5]
    assert equal(fewer, {name: several[name] for name in fewer}), "a view does not depend on those after it"
    assert not torch.equal(views_of()[12]["view1"], several["view1"])


def test_make_loader__views_are_the_same_for_any_number_of_workers_and_any_start() -> None:
    whole = list(make_loader(views_of(length=24), 4))
    assert same(list(make_loader(views_of(length=24), 4, num_workers=2)), whole)
    assert same(list(make_loader(views_of(length=24), 4, start=3)), whole[3:])


LEAK = """
import sys
sys.path.insert(0, sys.argv[1])
from data_tools import memory
from vasomim.data.augment import JointCrop
from vasomim.data.stream import SampleStream, make_loader

batches = iter(make_loader(SampleStream(memory(4), JointCrop(16), 0, 40), 4, num_workers=1))
next(batches)
print("leaving")
"""


def test_make_loader__workers_still_at_work_do_not_keep_the_process_from_ending() -> None:
    command = [sys.executable, "-c", LEAK, str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stdout) == (0, "leaving\n"), done.stderr
