"""Samples in training order, every one a pure function of (seed, epoch, index).

A stream has no state: order and augmentation are the same for any number of workers or ranks, and a run resumed at
batch k sees what the uninterrupted one would have seen.
"""

from __future__ import annotations

import atexit
import multiprocessing.util
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from vasomim.data.pool import num_cores
from vasomim.data.samples import AnySample, FrameDataset, check_alike, read_lazily
from vasomim.errors import MisuseError, VasomimError
from vasomim.types import view_key

Transform = Callable[[AnySample, np.random.Generator], dict[str, Tensor]]
Batch = dict[str, Tensor]
Many = Callable[[Iterable[tuple[AnySample, np.random.Generator]], int], Batch]
"""So many samples, each with its generator, transformed and stacked."""

ORDER, AUGMENTATION, VIEWS = 0, 1, 2
"""Which of the independent random sequences of a seed is meant."""


class SampleStream(Dataset[dict[str, Tensor]]):
    """Augmented samples by position: position p is frame `order(seed, p // n)[p % n]` in epoch p // n."""

    def __init__(
        self, dataset: FrameDataset, transform: Transform, seed: int, length: int, views: Sequence[Transform] = ()
    ) -> None:
        """Describe the stream; no pixel is read.

        Args:
            dataset: n frames.
            transform: from a sample and a generator to tensors.
            seed: not negative.
            length: number of positions, over as many epochs as that takes.
            views: further looks at the same frame, each drawn on its own; their `image` alone is kept.

        Raises:
            MisuseError: no frames.
            ValueError: negative seed or length.
        """
        if not len(dataset):
            raise MisuseError("got no frame to train on; name a folder with more frames or hold fewer out")
        if seed < 0 or length < 0:
            raise ValueError(f"seed and length must not be negative, got {seed} and {length}")
        self.dataset, self.transform, self.seed, self.length = dataset, transform, seed, length
        self.views = tuple(views)
        self._order: tuple[int, npt.NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, position: int) -> dict[str, Tensor]:
        """The transform's tensors, `view1` and so on, and `index` of the frame and `epoch`, int64 scalars.

        Raises:
            IndexError: position outside of the stream.
            DataError: the frame or its labels cannot be used.
        """
        epoch, index = self._frame_at(position)
        sample, rng = self._drawn(epoch, index)
        item = self.transform(sample, rng)
        for number, view in enumerate(self.views, start=1):
            rng = np.random.Generator(_bits(self.seed, VIEWS, epoch, index, number))
            item[view_key(number)] = view(sample, rng)["image"]
        return {**item, "index": torch.tensor(index), "epoch": torch.tensor(epoch)}

    def batch(self, positions: Sequence[int]) -> Batch:
        """The samples at some positions, stacked; by the transform's `many` where it has one, which is quicker.

        Raises:
            IndexError, DataError: as for one; samples with and without a mask do not mix.
        """
        many: Many | None = getattr(self.transform, "many", None)
        if many is None or self.views:
            return _stacked([self[position] for position in positions])
        frames = [self._frame_at(position) for position in positions]
        batch = many((self._drawn(epoch, index) for epoch, index in frames), len(frames))
        epochs, indices = zip(*frames, strict=True)
        return {**batch, "index": torch.tensor(indices), "epoch": torch.tensor(epochs)}

    def _frame_at(self, position: int) -> tuple[int, int]:
        if not 0 <= position < self.length:
            raise IndexError(f"position {position} outside of a stream of length {self.length}")
        epoch, place = divmod(position, len(self.dataset))
        return epoch, int(self._order_of(epoch)[place])

    def _drawn(self, epoch: int, index: int) -> tuple[AnySample, np.random.Generator]:
        rng = np.random.Generator(_bits(self.seed, AUGMENTATION, epoch, index))
        return read_lazily(self.dataset, index), rng

    def _order_of(self, epoch: int) -> npt.NDArray[np.int64]:
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, epoch_order(self.seed, epoch, len(self.dataset))
        return self._order[1]


def epoch_order(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    """Permutation of 0..count-1 for an epoch; from raw bits, so that it is the same in every NumPy version."""
    return np.argsort(_bits(seed, ORDER, epoch).random_raw(count), kind="stable").astype(np.int64)


def _bits(*key: int) -> np.random.PCG64:
    return np.random.PCG64(np.random.SeedSequence(key))


def make_loader(
    stream: SampleStream, batch_size: int, start: int = 0, num_workers: int = 0, rank: int = 0, world_size: int = 1
) -> BatchLoader:
    """Batches of a stream in order, from batch number `start` on.

    Args:
        stream: what to read.
        batch_size: samples of a global batch, over all ranks.
        start: first batch; those before it are not computed.
        num_workers: processes that read and augment, one thread each, at most one a core; 0 works in this one.
        rank: which slice of each global batch to yield; the slices of all ranks, in order, are the global batch.
        world_size: number of ranks; must divide `batch_size`.

    A last, smaller batch is yielded by a single rank and dropped by several, which would have unequal shares.

    Raises:
        ValueError: sizes that do not fit.
    """
    if batch_size < 1 or start < 0 or num_workers < 0:
        raise ValueError(f"got batch_size={batch_size}, start={start}, num_workers={num_workers}; need >= 1, 0, 0")
    if batch_size % world_size or not 0 <= rank < world_size:
        raise ValueError(f"rank {rank} of {world_size} cannot share a batch of {batch_size}; need a multiple")
    positions = _Positions(len(stream), batch_size, start, rank, world_size)
    return BatchLoader(stream, positions, min(num_workers, num_cores()))


@dataclass(frozen=True)
class _Positions:
    """The positions of each batch; computed when asked for, so that a long run costs no memory."""

    length: int
    batch_size: int
    start: int
    rank: int
    world_size: int

    def __len__(self) -> int:
        whole, rest = divmod(self.length, self.batch_size)
        return max(0, whole + (rest > 0 and self.world_size == 1) - self.start)

    def __iter__(self) -> Iterator[list[int]]:
        share = self.batch_size // self.world_size
        for batch in range(self.start, self.start + len(self)):
            first = batch * self.batch_size + self.rank * share
            yield list(range(first, min(first + share, self.length)))


@dataclass(frozen=True)
class _Failure:
    """An error that crosses from a worker as a value: the loader would bury its message in a traceback."""

    error: VasomimError


class BatchLoader:
    """Iterates over batches: dictionaries of stacked tensors."""

    def __init__(self, stream: SampleStream, positions: _Positions, num_workers: int) -> None:
        self.stream, self.positions, self.num_workers = stream, positions, num_workers

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches; a new iteration starts over at batch `start`.

        Raises:
            DataError: a frame or its labels cannot be used; the message is the reader's own.
        """
        for batch in self._loader():
            if isinstance(batch, _Failure):
                raise batch.error
            yield batch

    def _loader(self) -> DataLoader[Batch | _Failure]:
        return DataLoader(
            _Guarded(self.stream),
            batch_sampler=self.positions,
            num_workers=self.num_workers,
            collate_fn=_as_it_is,
            worker_init_fn=_prepare_worker,
            pin_memory=torch.cuda.is_available(),
            # Its own generator: otherwise every iteration draws from the global one and a resumed run differs.
            generator=torch.Generator().manual_seed(0),
        )


class _Guarded(Dataset[Batch | _Failure]):
    def __init__(self, stream: SampleStream) -> None:
        self.stream = stream

    def __getitems__(self, positions: Sequence[int]) -> Batch | _Failure:
        """The loader asks for the samples of a batch together."""
        try:
            return self.stream.batch(positions)
        except VasomimError as error:
            # Rebuilt, as causes and tracebacks need not survive pickling.
            return _Failure(type(error)(str(error)))


def _stacked(items: list[dict[str, Tensor]]) -> Batch:
    for item in items[1:]:
        check_alike(items[0].keys(), item.keys())
    batch: Batch = default_collate(items)
    return batch


def _as_it_is(batch: Any) -> Batch | _Failure:
    whole: Batch | _Failure = batch
    return whole


def _prepare_worker(worker: int) -> None:  # noqa: ARG001
    """One thread a worker; Ctrl-C and SIGTERM are for the main process, which still has a checkpoint to save."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@atexit.register  # after multiprocessing.util was imported, whose own exit function has to come later
def _end_workers() -> None:
    """Kill the workers of loaders that were left unfinished, when the interpreter ends.

    They ignore the SIGTERM by which multiprocessing would end them, and it would wait for them for ever.
    """
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()
