"""A data set from address to folder, off a server on this machine."""

import dataclasses
import hashlib
import io
import json
import zipfile

import pytest
from local_server import serve

from vasomim.data.obtain import obtain
from vasomim.data.registry import DATASETS, Archive
from vasomim.errors import DataError, MisuseError


def zipped(files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


CONTENT = zipped({"arcade/syntax/train/images/1.png": "1", "arcade/readme.txt": "2"})


@pytest.fixture
def site():
    with serve() as served:
        served.files |= {"/arcade.zip": CONTENT, "/table.xlsx": b"table"}
        yield served


def card(site, *names, **more):
    archives = tuple(Archive(url=f"{site.address}/{name}", file=name, **more) for name in names)
    return dataclasses.replace(DATASETS["arcade"], archives=archives)


def test_obtain__fetches_checks_and_unpacks(site, tmp_path):
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    told = []

    def start(name):
        told.append(name)
        return lambda *_: None

    folder, (fetched,) = obtain(card(site, "arcade.zip", sha256=sha256), tmp_path, start)
    assert folder == tmp_path / "arcade"
    assert (folder / "syntax" / "train" / "images" / "1.png").read_text() == "1"
    assert fetched.checked
    assert told == ["arcade.zip", "unpacking arcade.zip"]
    note = json.loads((tmp_path / "arcade.files" / "source.json").read_text())
    assert (note["licence"], note["name"]) == ("CC0-1.0", "arcade")
    assert note["files"] == [
        {"file": "arcade.zip", "url": f"{site.address}/arcade.zip", "sha256": sha256, "checked_against": "sha256"}
    ]
    with pytest.raises(MisuseError, match=r"arcade is not empty; choose another --out, or check it: --verify arcade"):
        obtain(card(site, "arcade.zip"), tmp_path)


def test_obtain__an_unknown_hash_is_computed_and_said(site, tmp_path):
    _, (fetched,) = obtain(card(site, "arcade.zip"), tmp_path)
    assert not fetched.checked
    assert fetched.sha256 == hashlib.sha256(CONTENT).hexdigest()
    note = json.loads((tmp_path / "arcade.files" / "source.json").read_text())
    assert note["files"][0]["checked_against"] is None


def test_obtain__several_files_lie_side_by_side(site, tmp_path):
    folder, fetched = obtain(card(site, "arcade.zip", "table.xlsx"), tmp_path)
    assert len(fetched) == 2
    assert {path.name for path in folder.iterdir()} == {"arcade", "table.xlsx"}
    assert (folder / "arcade" / "readme.txt").read_text() == "2"


def test_obtain__files_of_figshare_come_from_its_listing(site, tmp_path):
    asked = []

    def find(article):
        asked.append(article)
        return [Archive(url=f"{site.address}/table.xlsx", file="table.xlsx", md5=hashlib.md5(b"table").hexdigest())]

    folder, (fetched,) = obtain(DATASETS["syntax"], tmp_path, find=find)
    assert asked == [25801447]
    assert fetched.checked
    assert (folder / "table.xlsx").read_bytes() == b"table"


def test_obtain__a_failure_leaves_no_folder_and_the_next_call_goes_on(site, tmp_path):
    site.files["/arcade.zip"] = zipped({"../evil": "x"})
    with pytest.raises(DataError, match="lies outside of the folder"):
        obtain(card(site, "arcade.zip"), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"arcade.files"}
    with pytest.raises(DataError, match="lies outside of the folder"):
        obtain(card(site, "arcade.zip", "table.xlsx"), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"arcade.files"}
    (tmp_path / "arcade.files" / "arcade.zip").unlink()
    site.files["/arcade.zip"] = CONTENT
    assert (obtain(card(site, "arcade.zip"), tmp_path)[0] / "readme.txt").exists()


def test_obtain__a_set_without_an_address_says_how_to_get_it(tmp_path):
    with pytest.raises(MisuseError, match="xcad has no address to fetch it from: follow the Dropbox"):
        obtain(DATASETS["xcad"], tmp_path)
