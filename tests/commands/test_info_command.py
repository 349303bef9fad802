"""`vasomim info` tells what is at hand."""

from __future__ import annotations

import json

import pytest

from vasomim._version import __version__
from vasomim.commands.info import as_text, collect, installed, required, run
from vasomim.config import InfoConfig
from vasomim.config.loading import recipe_names
from vasomim.models.sizes import model_names


def test_collect__models_recipes_and_versions() -> None:
    facts = collect()
    assert facts["vasomim"] == __version__
    assert facts["models"] == model_names()
    assert facts["recipes"] == recipe_names()
    assert "devices" not in facts


def test_required__what_we_need_and_not_what_we_develop_with() -> None:
    assert {"torch", "numpy", "opencv-python-headless"} <= set(required())
    assert "pytest" not in required()
    assert all(installed(name) for name in ("torch", "numpy", "scipy"))
    assert installed("no-such-package") is None


def test_collect__devices_start_with_the_processor() -> None:
    assert collect(devices=True)["devices"][0]["device"] == "cpu"


@pytest.mark.parametrize("devices", [False, True])
def test_run__text_and_json(devices: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(InfoConfig(devices=devices), json=True) == 0
    facts = json.loads(capsys.readouterr().out)
    assert ("devices" in facts) == devices
    assert run(InfoConfig(devices=devices)) == 0
    shown = capsys.readouterr().out
    assert shown.strip() == as_text(facts)
    assert "vit_tiny_patch16_unet" in shown
    assert ("cpu " in shown) == devices
