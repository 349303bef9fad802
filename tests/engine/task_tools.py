"""The real tasks, tiny, on made-up frames through the real sample stream, for the engine's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from engine_tools import SETTINGS, Trained, train
from torch import Tensor, nn

from vasomim.data.augment import JointCrop
from vasomim.data.stream import SampleStream, make_loader
from vasomim.losses import soft_dice_loss
from vasomim.models.registry import create_model
from vasomim.tasks.pretraining import MaskingPlan, PretrainingTask
from vasomim.tasks.segmentation import SegmentationTask
from vasomim.types import Record, Sample

BATCH, STEPS = 4, 8


class Frames:
    """Ten made-up frames of 40 x 48 with a bright-to-dark ramp and one dark band each."""

    def __init__(self) -> None:
        self.records = [Record(f"frame{index}", Path(f"frame{index}.png")) for index in range(10)]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng(index)
        image = np.linspace(0.4, 0.9, 40 * 48, dtype=np.float32).reshape(40, 48) + 0.05 * rng.random((40, 48)).astype(
            "f"
        )
        band = np.zeros((40, 48), bool)
        band[4 + 3 * index : 8 + 3 * index] = True
        image[band] *= 0.5
        return Sample(self.records[index], image.clip(0, 1), mask=band, vessels=band)


def pretraining(drop_path_rate: float = 0.3) -> nn.Module:
    segmentor = create_model("unext_test")
    plan = MaskingPlan(guidance="co", guided_end=0.5)
    return PretrainingTask(create_model("mae_vit_test", img_size=32, drop_path_rate=drop_path_rate), plan, segmentor)


def segmentation() -> nn.Module:
    model = create_model("vit_test_unet", img_size=32, drop_path_rate=0.3)
    return SegmentationTask(model, lambda logits, target: {"dice": soft_dice_loss(logits, target)})


def frame_batches(
    workers: int = 0,
    stop_at: int | None = None,
    share: tuple[int, int] = (0, 1),
    steps: int = STEPS,
    views: Sequence[JointCrop] = (),
) -> Callable[[int], Iterable[dict[str, Tensor]]]:
    """Augmented batches of the stream, of each the share (process, processes); reading fails at step `stop_at`."""
    crop = JointCrop(32, vertical_flip=0.5, rotation=20, intensity=0.5)
    stream = SampleStream(Frames(), crop, seed=1, length=steps * BATCH, views=views)

    def make(start: int) -> Iterator[dict[str, Tensor]]:
        for step, batch in enumerate(make_loader(stream, BATCH, start, workers, *share), start=start):
            if step == stop_at:
                raise ZeroDivisionError
            yield batch

    return make


def run(folder: Path, make_task: Callable[[], nn.Module], source: Callable, **kwargs: Any) -> Trained:
    """Train a real task for STEPS steps of BATCH frames, or up to where reading them fails."""
    settings = replace(SETTINGS, total_steps=STEPS, steps_per_epoch=10 / BATCH, save_every=3, log_every=1)
    return train(folder, source, replace(settings, **kwargs.pop("changes", {})), make_task, **kwargs)
