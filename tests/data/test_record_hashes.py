"""Ids are hashed in one way, which takes every file name and does not change from version to version."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from data_tools import grey
from hypothesis import given
from hypothesis import strategies as st

from vasomim.commands.training import fingerprint
from vasomim.data.folder import UnlabelledDataset
from vasomim.data.frames import write_png
from vasomim.data.open import open_frames
from vasomim.data.packed import PackSettings
from vasomim.data.packing import _source, pack_frames
from vasomim.data.record_hashes import hash_records, id_bytes
from vasomim.data.splits import _rank, label_subset, sample_frames, split_holdout
from vasomim.engine import evaluation
from vasomim.types import Record

NO_UTF8 = os.fsdecode(b"fr\xe9me.png")


@given(st.text(), st.text())
def test_id_bytes__of_ordinary_names_are_utf8_and_tell_names_apart(first: str, second: str) -> None:
    assert id_bytes(first) == first.encode()
    assert (id_bytes(first) == id_bytes(second)) == (first == second)


@given(st.text(st.characters(categories=["Cs", "Ll"])))
def test_id_bytes__takes_every_name(name: str) -> None:
    assert id_bytes(name).decode("utf-8", "surrogatepass") == name


def two_frames(folder: Path) -> UnlabelledDataset:
    """A file of 10 bytes, twice: once with a patient, once with a known hash."""
    path = folder / "ten"
    path.write_bytes(b"0" * 10)
    return UnlabelledDataset([Record("a/1", path, "p7"), Record("é 2", path, digest="d2")])


def test_hashes__are_those_of_earlier_versions(tmp_path: Path) -> None:
    """They are written down: in run.json, in packs, in evaluations, and in which frames were held out."""
    frames = two_frames(tmp_path)
    assert fingerprint(frames) == {
        "frames": 2,
        "sha256": "cee01e5a68905930258b2ac8fdd0ce44d506d2fde2f8e3afc46db1a06bc043e7",
    }
    assert _source(frames) == "dc37b0f6430846d1380d109dfb540cb5"
    assert _rank("é 2", 3).hex() == "8a8e66a9cef0b81fce2a876f4b2a1db4"
    scores = [evaluation.FrameScores(record.id, None, {}, (0, 0, 0, 0), (1, 1), "x") for record in frames.records]
    assert evaluation.fingerprint(scores) == "08b76a8e10abbbb567e9fb4225d97ad6"


def test_hash_records__depends_on_ids_facts_and_order() -> None:
    first, second = Record("a", Path("x")), Record("b", Path("x"))

    def hashed(records: list[Record], facts: str = "") -> str:
        return hash_records(records, lambda _: facts, hashlib.sha256())

    assert len({hashed([first, second]), hashed([second, first]), hashed([first]), hashed([first], "more")}) == 4


def test_file_names_that_are_no_utf8__are_split_counted_and_packed(tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    try:
        write_png(frames / NO_UTF8, grey(0))
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    write_png(frames / "other.png", grey(1))
    dataset = open_frames([frames])
    assert NO_UTF8.removesuffix(".png") in [record.id for record in dataset.records]
    assert len(split_holdout(dataset, 0.5)[1]) == len(label_subset(dataset, "1", 0)) == 1
    assert sample_frames(dataset, 2, 0) == [0, 1]
    assert fingerprint(dataset)["frames"] == 2
    assert pack_frames(dataset, tmp_path / "pack", PackSettings(), workers=1).packed == 2
