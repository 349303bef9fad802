"""`vasomim synthesize`: files, order, resuming, refusing, a full disk."""

from __future__ import annotations

import csv
import errno
import json
from pathlib import Path

import pytest

from vasomim.cli.app import main
from vasomim.commands.synthesize import run
from vasomim.config import SynthesizeConfig
from vasomim.data import synthesis
from vasomim.data.frames import read_frame, read_mask
from vasomim.data.open import open_labelled
from vasomim.errors import DataError, Interrupted, MisuseError
from vasomim.synth.angiogram import generate


def config(out: Path, **changes: object) -> SynthesizeConfig:
    return SynthesizeConfig(**{"out": out, "num_frames": 3, "size": 64, "workers": 1, **changes})


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_run__writes_frames_masks_and_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(config(tmp_path / "s", stenoses=True), json=True) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["made"], result["kept"]) == (3, 0)
    names = set(contents(tmp_path / "s"))
    for kind, suffix in (("images", "png"), ("masks", "png"), ("centerlines", "png"), ("scenes", "json")):
        assert {f"{kind}/frame_{k:05d}.{suffix}" for k in range(3)} <= names
    assert {"boxes.csv", "metadata.json", "preview.png"} <= names
    with (tmp_path / "s" / "boxes.csv").open() as file:
        boxes = [row for row in csv.DictReader(file) if row["x0"]]
    assert len(boxes) == result["boxes"] > 0


def test_run__files_are_what_generate_makes(tmp_path: Path) -> None:
    run(config(tmp_path / "s", seed=8, bits=16))
    made = generate(8, 64, index=1, bits=16)
    assert (read_mask(tmp_path / "s/masks/frame_00001.png") == made.mask).all()
    assert (abs(read_frame(tmp_path / "s/images/frame_00001.png") - made.image / 65535) < 1e-6).all()


def test_run__is_read_as_labelled_data_with_patients(tmp_path: Path) -> None:
    run(config(tmp_path / "s", cine=2, num_frames=4, stenoses=True))
    frames = open_labelled([tmp_path / "s"])
    assert [r.patient for r in frames.records] == ["run_0000", "run_0000", "run_0001", "run_0001"]
    assert frames[0].mask is not None


def test_run__does_not_depend_on_the_workers(tmp_path: Path) -> None:
    run(config(tmp_path / "one"))
    run(config(tmp_path / "two", workers=2))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.parametrize("cine", [0, 3])
def test_run__goes_on_where_it_stopped(tmp_path: Path, cine: int, capsys: pytest.CaptureFixture[str]) -> None:
    run(config(tmp_path / "whole", num_frames=5, cine=cine))
    run(config(tmp_path / "parts", num_frames=2, cine=cine))
    (tmp_path / "parts/images" / ("run_0000_001.png" if cine else "frame_00001.png")).unlink()
    capsys.readouterr()
    run(config(tmp_path / "parts", num_frames=5, cine=cine), json=True)
    result = json.loads(capsys.readouterr().out)
    assert (result["made"], result["kept"]) == (4, 1)
    assert contents(tmp_path / "whole") == contents(tmp_path / "parts")


@pytest.mark.parametrize("change", [{"seed": 1}, {"size": 96}, {"stenoses": True}, {"cine": 2}, {"bits": 16}])
def test_run__refuses_the_folder_of_another_series(tmp_path: Path, change: dict[str, object]) -> None:
    run(config(tmp_path / "s"))
    before = contents(tmp_path / "s")
    with pytest.raises(MisuseError, match=rf"another series \({next(iter(change))}="):
        run(config(tmp_path / "s", **change))
    assert contents(tmp_path / "s") == before


def test_run__refuses_a_foreign_folder_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not touch")
    with pytest.raises(MisuseError, match="not empty"):
        run(config(tmp_path / "mine"))
    with pytest.raises(MisuseError, match="is a file"):
        run(config(tmp_path / "mine" / "thesis.txt"))
    (tmp_path / "mine" / "metadata.json").write_text("{")
    with pytest.raises(MisuseError, match="cannot read"):
        run(config(tmp_path / "mine"))


def test_run__full_disk_is_one_line_and_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replace, written = Path.replace, []

    def fill_up(self: Path, target: Path) -> Path:
        written.append(target)
        if len(written) > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fill_up)
    assert (
        main(["synthesize", "--out", str(tmp_path / "s"), "--num-frames", "4", "--size", "64", "--workers", "1"]) == 1
    )
    lines = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(lines) == 1
    assert "No space left on device" in lines[0]
    monkeypatch.undo()
    assert not [path for path in (tmp_path / "s").rglob("*") if path.name.startswith(".")]
    for path in (tmp_path / "s").rglob("*.png"):
        read_frame(path)
    assert run(config(tmp_path / "s", num_frames=4)) == 0
    run(config(tmp_path / "fresh", num_frames=4))
    assert contents(tmp_path / "s") == contents(tmp_path / "fresh")


def test_run__broken_note_names_the_file(tmp_path: Path) -> None:
    run(config(tmp_path / "s"))
    (tmp_path / "s/scenes/frame_00001.json").write_text("{")
    with pytest.raises(DataError, match=r"frame_00001.json.*delete"):
        run(config(tmp_path / "s"))


def test_run__ctrl_c_keeps_what_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def stop(*arguments: object, **named: object) -> object:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(generate(*arguments, **named))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(synthesis, "generate", stop)
    with pytest.raises(Interrupted, match="after 2 of 3"):
        run(config(tmp_path / "s"))
    assert len(list((tmp_path / "s" / "images").iterdir())) == 2
