"""The demo: whole chain, resuming, real frames, refusals. Few and small frames, few steps."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

from vasomim.commands import demo
from vasomim.config import DemoConfig
from vasomim.data.frames import write_png
from vasomim.errors import MisuseError
from vasomim.synth import generate


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "SIZE", 64)
    monkeypatch.setattr(demo, "FRAMES", {"unlabelled": 8, "labelled": 4, "test": 3})
    monkeypatch.setattr(demo, "BATCH", {"segmentor": 4, "pretrain": 4, "finetune": 2})


class Outside(HTMLParser):
    """Collects addresses that a page would load or link to."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]


def test_demo__runs_the_whole_chain_and_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DemoConfig(out=tmp_path / "demo", minutes=0.01)
    assert demo.run(config, json=True) == 0
    result = json.loads(capsys.readouterr().out)
    assert {"VasoMIM", "plain MAE", "from scratch", "seconds", "report"} <= result.keys()
    page = (tmp_path / "demo" / "report.html").read_text()
    finder = Outside()
    finder.feed(page)
    assert all(address.startswith(("data:", "#")) for address in finder.addresses)
    assert all(label in page for label in ("VasoMIM", "plain MAE", "from scratch"))
    assert len(list((tmp_path / "demo" / "predictions" / "masks").glob("*.png"))) == 3
    # Everything is there: nothing may be made or trained again.
    monkeypatch.setattr(demo, "write_synthetic", None)
    for optimizer in (torch.optim.Adam, torch.optim.AdamW):
        monkeypatch.setattr(optimizer, "step", None)
    assert demo.run(config, json=True) == 0
    again = json.loads(capsys.readouterr().out)
    assert {name: again[name] for name in demo.METHODS.values()} == {
        name: result[name] for name in demo.METHODS.values()
    }


def test_demo__takes_labelled_frames_of_ones_own(tmp_path: Path) -> None:
    for index in range(12):
        made = generate(index, size=64)
        write_png(tmp_path / "mine" / "images" / f"{index}.png", made.image)
        write_png(tmp_path / "mine" / "masks" / f"{index}.png", made.mask.astype(np.uint8) * 255)
    config = DemoConfig(inputs=(tmp_path / "mine",), out=tmp_path / "demo", minutes=0.01)
    plan = demo.make_plan(config, demo.Places(config.out))
    assert plan["frames"]["test"] >= 1
    names = {part: {path.name for path in (config.out / "data" / part / "images").iterdir()} for part in plan["frames"]}
    assert not names["test"] & (names["labelled"] | names["unlabelled"])
    assert not (config.out / "data" / "unlabelled" / "masks").exists()


def test_make_plan__shrinks_all_runs_alike_where_time_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [("segmentor", 1.0), *2 * [("pretrain", 1.0)], *3 * [("finetune", 1.0)]]
    monkeypatch.setattr(demo, "step_seconds", lambda: runs)
    steps = demo.plan_steps(DemoConfig(minutes=10))
    assert steps["pretrain"] == pytest.approx(
        steps["finetune"] * demo.STEPS["pretrain"] / demo.STEPS["finetune"], abs=3
    )
    assert sum(steps[verb] for verb, _ in runs) <= 600
    assert demo.plan_steps(DemoConfig(minutes=1000)) == demo.STEPS


def test_step_seconds__counts_the_segmentor_in_the_guided_pretraining(monkeypatch: pytest.MonkeyPatch) -> None:
    guides = []

    def pass_seconds(task: torch.nn.Module, verb: str) -> float:
        if verb == "pretrain":
            guides.append(task.segmentor is not None)
        return 1.0

    monkeypatch.setattr(demo, "pass_seconds", pass_seconds)
    verbs = [verb for verb, _ in demo.step_seconds()]
    assert verbs == ["segmentor", "pretrain", "pretrain", "finetune", "finetune", "finetune"]
    assert sorted(guides) == [False, True]


def test_demo__refuses_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(MisuseError, match="not empty"):
        demo.run(DemoConfig(out=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_demo__refuses_other_settings_in_the_same_folder(tmp_path: Path) -> None:
    demo.make_plan(DemoConfig(out=tmp_path, minutes=0.01), demo.Places(tmp_path))
    with pytest.raises(MisuseError, match="other settings"):
        demo.run(DemoConfig(out=tmp_path, minutes=0.01, seed=1))
