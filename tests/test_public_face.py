"""The public names are there, load on first use, and cost nothing before."""

from __future__ import annotations

import subprocess
import sys

import pytest

import vasomim


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200, check=False)


def test_import__loads_nothing_heavy() -> None:
    done = run(
        "import sys, vasomim; dir(vasomim);"
        "assert not {'torch', 'cv2', 'scipy', 'skimage', 'numpy'} & set(sys.modules), sorted(sys.modules)"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", vasomim.__all__)
def test_public_name__is_there(name: str) -> None:
    assert getattr(vasomim, name) is not None
    assert name in dir(vasomim)


@pytest.mark.parametrize("name", ["dice", "cldice", "iou", "hd95", "betti_error"])
def test_metrics__are_reached_through_the_package(name: str) -> None:
    assert callable(getattr(vasomim.metrics, name))


def test_modules__are_reached_through_the_package() -> None:
    done = run("import vasomim; print(vasomim.stats.holm([0.5]), callable(vasomim.losses.soft_dice_loss))")
    assert done.stdout.strip() == "[0.5] True", done.stderr


def test_synth__is_reached_through_the_package() -> None:
    done = run("import vasomim; print(vasomim.synth.generate(seed=0, size=64).image.shape)")
    assert done.stdout.strip() == "(64, 64)", done.stderr


def test_import_star__brings_the_public_names() -> None:
    done = run("from vasomim import *; print(callable(guided_mask), callable(vesselness), callable(create_model))")
    assert done.stdout.strip() == "True True True", done.stderr


def test_unknown_name__is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'vasomim' has no attribute 'vesselnes'"):
        _ = vasomim.vesselnes
