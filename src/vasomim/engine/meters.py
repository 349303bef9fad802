"""What a run logs: means of scalars that stay on their device until wanted, speed, waiting, memory."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from vasomim.errors import TrainingError


class Window:
    """Sums of logged scalars. Adding does not wait for the device; only `flush` does."""

    def __init__(self) -> None:
        """Begin empty."""
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, logs: Mapping[str, Tensor]) -> None:
        """Add one step's scalars; a name may be missing in some steps."""
        for name, value in logs.items():
            total = self.sums.get(name)
            value = value.detach().double()
            self.sums[name] = value if total is None else total + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def average(self, over_processes: Callable[[Tensor], Tensor]) -> None:
        """Replace the sums by their means over the processes, which all have the same names; twice is once."""
        if self.sums:
            means = over_processes(torch.stack(list(self.sums.values())))
            self.sums = dict(zip(self.sums, means.unbind(), strict=True))

    def flush(self) -> dict[str, float]:
        """Means by name; the window is empty afterwards."""
        means = {name: float(total) / self.counts[name] for name, total in self.sums.items()}
        self.sums, self.counts = {}, {}
        return means

    def state_dict(self) -> dict[str, Any]:
        """Sums and counts, so that a resumed run logs the same means."""
        return {"sums": self.sums, "counts": self.counts}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go on from what `state_dict` returned."""
        self.sums = {name: total.to(device) for name, total in state["sums"].items()}
        self.counts = dict(state["counts"])


class Feed:
    """Batches in order; measures how long the loop waits for them."""

    def __init__(self, batches: Iterable[dict[str, Tensor]]) -> None:
        """Start reading."""
        self.batches: Iterator[dict[str, Tensor]] = iter(batches)
        self.waited = 0.0

    def next(self, step: int) -> dict[str, Tensor]:
        """The next batch.

        Raises:
            TrainingError: there is none, although the run is not over.
        """
        began = time.perf_counter()
        try:
            return next(self.batches)
        except StopIteration:
            raise TrainingError(f"the batches ended before step {step}; give frames enough for the whole run") from None
        finally:
            self.waited += time.perf_counter() - began

    def take_waited(self) -> float:
        """Seconds waited since the last call."""
        waited, self.waited = self.waited, 0.0
        return waited


class Speed:
    """Samples a second and the share of the time spent waiting for data, validation and saving not counted."""

    def __init__(self, device: torch.device) -> None:
        """Measure on `device`."""
        self.device = device
        self.samples = 0
        self.seconds = 0.0

    def add(self, samples: int, seconds: float) -> None:
        """Count one step."""
        self.samples += samples
        self.seconds += seconds

    def flush(self, waited: float) -> dict[str, float]:
        """The values of the steps since the last call, of whose time `waited` seconds went into waiting for data."""
        seconds = max(self.seconds, 1e-9)
        values = {
            "samples_per_second": self.samples / seconds,
            "data_wait": min(waited / seconds, 1.0),
            "peak_memory_mib": peak_memory(self.device),
        }
        self.samples, self.seconds = 0, 0.0
        return values


def peak_memory(device: torch.device) -> float:
    """Largest memory use so far in MiB: of the CUDA device, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform == "win32":
        return 0.0
    import resource

    # ru_maxrss is in KiB on Linux, in bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
