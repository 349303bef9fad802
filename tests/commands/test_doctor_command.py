"""`vasomim doctor` from the command line to exit status, table, page and list."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from vasomim.cli.app import main
from vasomim.commands.doctor import example
from vasomim.commands.doctor_page import _marked
from vasomim.data.audit.findings import KINDS, finding
from vasomim.data.audit.look import Job, look_at
from vasomim.data.frames import write_png
from vasomim.data.open import open_frames
from vasomim.synth.angiogram import Angiogram, generate
from vasomim.types import Record

INDICES = (0, 4, 6, 8, 9, 11)


@pytest.fixture(scope="module")
def angiograms() -> dict[int, Angiogram]:
    return {index: generate(0, 200, index=index) for index in INDICES}


@pytest.fixture
def clean(tmp_path: Path, angiograms: dict[int, Angiogram]) -> Path:
    for index, angiogram in angiograms.items():
        write_png(tmp_path / "data" / "images" / f"{index}.png", angiogram.image)
        write_png(tmp_path / "data" / "masks" / f"{index}.png", angiogram.mask)
    return tmp_path / "data"


@pytest.fixture
def sick(clean: Path, angiograms: dict[int, Angiogram]) -> Path:
    """A copy, a broken frame, an inverted frame with a mask beside its vessels, and a text."""
    images, masks = clean / "images", clean / "masks"
    cv2.imwrite(str(images / "again <b>.jpg"), angiograms[0].image)
    write_png(masks / "again <b>.png", angiograms[0].mask)
    (images / "4.png").write_bytes(b"no picture")
    write_png(images / "6.png", 255 - angiograms[6].image)
    write_png(masks / "6.png", np.roll(angiograms[6].mask, 9, 0))
    named = angiograms[8].image.copy()
    cv2.putText(named, "DOE 1967", (20, 40), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 1, cv2.LINE_AA)
    write_png(images / "8.png", named)
    return clean


SICK = {"unreadable", "inverted", "misaligned_mask", "burnt_in_text", "near_duplicate"}


def call(*arguments: object) -> int:
    return main(["doctor", *(str(argument) for argument in arguments), "--workers", "1"])


def test_doctor__clean_data_is_status_0(clean, capsys):
    assert call(clean) == 0
    assert "No findings." in capsys.readouterr().out


def test_doctor__json_names_files_relative_to_the_folder(sick, capsys):
    assert call(sick, "--json") == 1
    result = json.loads(capsys.readouterr().out)
    assert set(result) == {"findings", "summary"}
    assert {item["kind"] for item in result["findings"]} == SICK
    copy = next(item for item in result["findings"] if item["kind"] == "near_duplicate")
    assert copy["files"] == ["images/0.png", "images/again <b>.jpg"]
    assert all(item["severity"] in ("error", "warning", "info") and item["fix"] for item in result["findings"])
    assert str(sick.parent) not in json.dumps(result)


def test_doctor__information_alone_is_status_0(clean, capsys):
    (clean / "images" / "notes.md").write_text("hello")
    assert call(clean, "--json") == 0
    assert [item["severity"] for item in json.loads(capsys.readouterr().out)["findings"]] == ["info"]


def test_doctor__table_shows_each_kind_with_an_example_and_the_fix(sick, capsys):
    assert call(sick, "-v") == 1
    out = capsys.readouterr().out
    for kind in SICK:
        assert KINDS[kind].title in " ".join(out.split())
    assert "images/4.png" in out
    assert "near_duplicate: 2 files show one frame: images/0.png, images/again <b>.jpg" in out


def test_doctor__page_opens_offline_and_shows_the_frames(sick, tmp_path, capsys):
    assert call(sick, "--out", tmp_path / "audit") == 1
    assert "report.html" in capsys.readouterr().err
    page = (tmp_path / "audit" / "report.html").read_text()
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", page)
    assert "<script" not in page
    assert "again <b>" not in page
    assert "again &lt;b&gt;.jpg" in page
    assert page.count("<img ") >= 4
    assert all(KINDS[kind].title in page for kind in SICK)
    assert json.loads((tmp_path / "audit" / "doctor.json").read_text())["summary"]["frames"] == 7
    assert str(sick.parent) not in page


def test_doctor__keep_list_is_what_other_verbs_read(sick, tmp_path, capsys):
    assert call(sick, "--keep-list", tmp_path / "keep.txt") == 1
    kept = open_frames([tmp_path / "keep.txt"])
    assert [record.id for record in kept.records] == ["0", "6", "8", "9", "11"]
    vessels = tmp_path / "vessels"
    capsys.readouterr()
    assert main(["extract", str(tmp_path / "keep.txt"), "--out", str(vessels), "--workers", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["extracted"] == 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no INPUT"),
        (["nowhere"], "no such file or folder"),
        ([".", "--keep-list", "keep.list"], "must end in .txt"),
        (["EMPTY"], "no frame in"),
        (["FILE"], "is a file"),
    ],
)
def test_doctor__misuse_is_status_2_and_one_line(tmp_path, capsys, arguments, words):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.png").write_bytes(b"")
    places = {"EMPTY": str(tmp_path / "empty"), "FILE": str(tmp_path / "file.png")}
    assert call(*(places.get(argument, argument) for argument in arguments)) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error


def test_doctor__an_earlier_audit_is_renewed(clean, tmp_path):
    for _ in range(2):
        assert call(clean, "--out", tmp_path / "audit", "--keep-list", tmp_path / "keep.txt") == 0
    assert sorted(path.name for path in (tmp_path / "audit").iterdir()) == ["doctor.json", "report.html"]


def test_doctor__nothing_of_others_is_replaced(clean, tmp_path, capsys):
    run, notes = tmp_path / "run", tmp_path / "notes.txt"
    run.mkdir()
    (run / "report.html").write_text("of a training")
    notes.write_text("mine")
    assert call(clean, "--out", run) == 2
    assert "holds report.html; choose another --out" in capsys.readouterr().err
    assert call(clean, "--out", clean) == 2
    assert "choose another --out" in capsys.readouterr().err
    assert call(clean, "--keep-list", notes) == 2
    assert "choose another --keep-list" in capsys.readouterr().err
    assert (run / "report.html").read_text() == "of a training"
    assert notes.read_text() == "mine"
    assert not (clean / "report.html").exists()


def test_doctor__a_place_that_cannot_be_written_is_noticed_before_frames_are_read(clean, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert call(clean, "--out", tmp_path / "file" / "audit") == 1
    assert call(clean, "--keep-list", tmp_path / "file" / "keep.txt") == 1
    streams = capsys.readouterr()
    assert streams.err.count("cannot write") == 2
    assert "reading frames" not in streams.err


def test_doctor__findings_are_printed_where_the_list_cannot_be_written(clean, tmp_path, capsys):
    frame = next((clean / "images").iterdir())
    frame.rename(frame.with_name(f"two\nlines{frame.suffix}"))
    assert call(clean, "--keep-list", tmp_path / "keep.txt") == 1
    streams = capsys.readouterr()
    assert "Frames without mask" in streams.out
    assert "rename it" in streams.err
    assert not (tmp_path / "keep.txt").exists()


def test_doctor__loads_no_torch():
    code = "import sys, vasomim.commands.doctor; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_example__names_the_first_files_once():
    table = finding("missing_frame", ["a/t.json", "a/1.png", "a/2.png", "a/3.png"], "a/t.json lists 3 frames")
    assert example(table) == "a/t.json lists 3 frames: a/1.png, a/2.png and 1 more"
    assert example(finding("exact_duplicate", ["1.png", "2.png"], "2 files are identical")) == (
        "2 files are identical: 1.png, 2.png"
    )
    assert example(finding("unreadable", ["1.png"], "1.png is empty")) == "1.png is empty"


@pytest.mark.parametrize("classes", [None, frozenset(), frozenset({1, 2}), frozenset({1, 2, 3, 4})])
def test_page__shows_the_mask_that_was_audited(
    tmp_path: Path, angiograms: dict[int, Angiogram], classes: frozenset[int] | None
) -> None:
    image, mask = angiograms[0].image, angiograms[0].mask
    write_png(tmp_path / "frame.png", image)
    write_png(tmp_path / "mask.png", mask * np.arange(1, 5, dtype=np.uint8).repeat(50))
    job = Job(Record("frame", tmp_path / "frame.png"), tmp_path / "mask.png", classes)
    audited, shown = look_at(job).mask, _marked("full_mask", job, np.zeros(mask.shape, np.float32))
    assert audited is not None
    assert shown is not None
    assert shown.mean() == audited.share > 0
