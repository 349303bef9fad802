"""Small sets on disk, and real data where there is some."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from data_tools import grey, hash_of, save


@pytest.fixture
def masked_folder(tmp_path: Path) -> Path:
    """A set of three frames with masks."""
    for name in ("1", "2", "10"):
        save(tmp_path / "set" / "images" / f"{name}.png", grey(int(name)))
        save(tmp_path / "set" / "masks" / f"{name}.png", (grey(int(name)) > 128).astype(np.uint8) * 255)
    return tmp_path / "set"


@pytest.fixture
def make_arcade(tmp_path: Path) -> Callable[..., Path]:
    """Writes a folder in ARCADE's layout: `make_arcade(content, name="train")`."""

    def make(content: object, name: str = "train", files: Sequence[str] | None = None) -> Path:
        root = tmp_path / "arcade" / name
        (root / "annotations").mkdir(parents=True)
        names = files if files is not None else [image["file_name"] for image in content["images"]]
        for number, file in enumerate(names):
            save(root / "images" / file, grey(number + hash_of(name)))
        text = content if isinstance(content, str) else json.dumps(content)
        (root / "annotations" / f"{name}.json").write_text(text)
        return root

    return make


@pytest.fixture
def real_data() -> Path:
    """The folder of real angiograms; the test is skipped where there is none."""
    folder = os.environ.get("VASOMIM_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("VASOMIM_DATA is unset: no real angiograms here")
    return Path(folder)
