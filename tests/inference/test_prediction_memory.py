"""A cine run passes through in constant memory: four times the frames, the same peak."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
from inference_tools import Darkness, config
from run_tools import make_run

from vasomim.data.open import open_frames
from vasomim.inference.files import open_folder
from vasomim.inference.predictor import Predictor
from vasomim.inference.run_files import group_by_file
from vasomim.inference.run_outputs import RunParts
from vasomim.inference.runs import RunOptions, predict_runs
from vasomim.inference.writers import Parts

SIDE = 128
FLOAT_FRAME = 4 * SIDE * SIDE


def peak_of(folder: Path, frames: int) -> int:
    """Bytes at most, of arrays and objects together, while a run is predicted and reported on.

    Without DICOM objects, which hold their frames compressed until they are written.
    """
    masks = np.zeros((frames, SIDE, SIDE), bool)
    masks[:, 20:90, 60:66] = True
    make_run(folder / "in" / "a.dcm", masks)
    del masks
    predictor = Predictor(Darkness(), config("resize", SIDE), device="cpu", precision="fp32", batch_size=2, name="tiny")
    runs = group_by_file(open_frames([folder / "in"]).records)
    tracemalloc.start()
    try:
        with open_folder(predictor, folder / "out", Parts(overlays=False, probability=False)) as out:
            done = predict_runs(predictor, runs, out, RunOptions(parts=RunParts(dicom=False, movie="none")))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        assert done.predicted == frames


def test_predict_runs__memory_does_not_grow_with_the_frames(tmp_path: Path) -> None:
    peak_of(tmp_path / "warm", 2)  # modules are loaded, caches filled
    # The lower of two: what else is loaded or not yet collected meanwhile only adds.
    few, many = (min(peak_of(tmp_path / f"{frames}_{k}", frames) for k in range(2)) for frames in (24, 96))
    # Kept as floats, 72 frames more would be 72 of these.
    assert many - few < 8 * FLOAT_FRAME
