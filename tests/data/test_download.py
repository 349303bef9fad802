"""Downloads from a server on this machine: resumed, checked, and refused with one clear line."""

import errno
import hashlib
import json
import socket
import ssl
from http.client import HTTPResponse

import numpy as np
import pytest
from local_server import serve

from vasomim.data.download import fetch, figshare_files
from vasomim.data.registry import Archive
from vasomim.errors import DataError, WriteError

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256, MD5 = hashlib.sha256(CONTENT).hexdigest(), hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def site():
    with serve() as served:
        served.files["/a.zip"] = CONTENT
        yield served


def archive(site, **more):
    return Archive(url=f"{site.address}/a.zip", file="a.zip", **more)


def get(site, folder, **more):
    return fetch(archive(site, **more), folder, pause=0.001)


def test_fetch__the_whole_file_and_its_hash(site, tmp_path):
    seen = []
    digest = fetch(archive(site, sha256=SHA256, md5=MD5, size=300_000), tmp_path, lambda *step: seen.append(step))
    assert digest == SHA256
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
    assert seen[-1] == (300_000, 300_000)
    assert seen == sorted(seen)


def test_fetch__goes_on_after_broken_connections(site, tmp_path):
    site.break_after = [100_000, 50_000, 7]
    assert get(site, tmp_path, sha256=SHA256) == SHA256
    ranges = [request.get("Range") for request in site.requests]
    assert ranges == [None, "bytes=100000-", "bytes=150000-", "bytes=150007-"]


def test_fetch__a_network_that_goes_away_is_no_full_disk(site, tmp_path, monkeypatch):
    """The system names a lost route by a plain OSError, as it does a disk that fails."""
    read, lost = HTTPResponse.read, [OSError(errno.EHOSTUNREACH, "No route to host"), ssl.SSLError("bad record")]

    def breaking(answer, size=None):
        if lost:
            raise lost.pop()
        return read(answer, size)

    monkeypatch.setattr(HTTPResponse, "read", breaking)
    assert get(site, tmp_path, sha256=SHA256) == SHA256
    assert len(site.requests) == 3


def test_fetch__a_later_call_goes_on(site, tmp_path):
    site.break_after = [120_000, 0, 0]
    with pytest.raises(DataError, match="the same command goes on from where it stopped"):
        fetch(archive(site), tmp_path, tries=2, pause=0.001)
    assert (tmp_path / "a.zip.part").stat().st_size == 120_000
    assert not (tmp_path / "a.zip").exists()
    site.requests.clear()
    assert get(site, tmp_path) == SHA256
    assert site.requests[0]["Range"] == "bytes=120000-"


def test_fetch__starts_anew_where_the_file_changed(site, tmp_path):
    site.break_after = [120_000, 0, 0]
    with pytest.raises(DataError):
        fetch(archive(site), tmp_path, tries=2, pause=0.001)
    changed = site.files["/a.zip"] = CONTENT[::-1]
    assert get(site, tmp_path) == hashlib.sha256(changed).hexdigest()


@pytest.mark.parametrize("trait", ["ranges", "tagged"])
def test_fetch__starts_anew_where_the_server_cannot_resume(site, tmp_path, trait):
    setattr(site, trait, False)
    site.break_after = [100_000]
    assert get(site, tmp_path) == SHA256


def test_fetch__a_part_of_another_address_is_not_used(site, tmp_path):
    (tmp_path / "a.zip.part").write_bytes(b"x" * 1000)
    (tmp_path / "a.zip.part.json").write_text(json.dumps({"url": "https://elsewhere", "version": '"1"'}))
    assert get(site, tmp_path) == SHA256
    (tmp_path / "a.zip").unlink()
    (tmp_path / "a.zip.part").write_bytes(b"x" * 1000)
    (tmp_path / "a.zip.part.json").write_text("{broken")
    assert get(site, tmp_path) == SHA256


def left_over(site, folder, content):
    """What a call that was killed left: this part, noted as of the version that is served."""
    (folder / "a.zip.part").write_bytes(content)
    note = {"url": f"{site.address}/a.zip", "version": site.tag(CONTENT)}
    (folder / "a.zip.part.json").write_text(json.dumps(note))


def test_fetch__a_part_that_was_complete_is_not_fetched_again(site, tmp_path):
    left_over(site, tmp_path, CONTENT)
    seen = []
    assert fetch(archive(site, sha256=SHA256), tmp_path, lambda *step: seen.append(step)) == SHA256
    assert [request["Range"] for request in site.requests] == ["bytes=300000-"]
    assert seen == [(300_000, 300_000)]
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


@pytest.mark.parametrize("lengths", [True, False])
def test_fetch__a_part_longer_than_the_file_starts_anew(site, tmp_path, lengths):
    left_over(site, tmp_path, CONTENT + b"more")
    site.lengths = lengths
    assert get(site, tmp_path) == SHA256
    assert [request.get("Range") for request in site.requests] == ["bytes=300004-", None]


def test_fetch__a_refused_range_that_was_not_asked_for_is_final(site, tmp_path):
    site.fail_with = [416]
    with pytest.raises(DataError, match="answers 416"):
        get(site, tmp_path)
    assert len(site.requests) == 1


def test_fetch__a_range_that_starts_elsewhere_is_refused(site, tmp_path):
    site.break_after, site.shift = [100_000], 5
    with pytest.raises(DataError, match=r"asked to go on at byte 100000, answers 'bytes 100005"):
        get(site, tmp_path)


def test_fetch__without_a_length(site, tmp_path):
    site.lengths = False
    assert get(site, tmp_path, sha256=SHA256) == SHA256


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"md5": "0" * 32}, {"sha256": SHA256, "md5": "1" * 32}])
def test_fetch__a_wrong_hash_removes_the_file_and_says_so(site, tmp_path, wrong):
    with pytest.raises(DataError, match="it is damaged or was changed; it was removed: run the same command again"):
        get(site, tmp_path, **wrong)
    assert list(tmp_path.iterdir()) == []


def test_fetch__another_size_is_refused_before_anything_is_fetched(site, tmp_path):
    with pytest.raises(DataError, match="holds 300000 bytes, not 5; it has changed"):
        get(site, tmp_path, size=5)
    assert list(tmp_path.iterdir()) == []


def test_fetch__a_file_that_is_there_is_checked_not_fetched(site, tmp_path):
    (tmp_path / "a.zip").write_bytes(CONTENT)
    assert get(site, tmp_path, sha256=SHA256) == SHA256
    assert site.requests == []
    (tmp_path / "a.zip").write_bytes(b"other")
    with pytest.raises(DataError, match="remove it and run the same command again"):
        get(site, tmp_path, sha256=SHA256)
    assert (tmp_path / "a.zip").exists()


@pytest.mark.parametrize(("status", "message"), [(404, "answers 404"), (403, "answers 403"), (410, "answers 410")])
def test_fetch__a_refusal_is_final(site, tmp_path, status, message):
    site.fail_with = [status]
    with pytest.raises(DataError, match=message):
        get(site, tmp_path)
    assert len(site.requests) == 1


def test_fetch__a_busy_server_is_asked_again(site, tmp_path):
    site.fail_with = [503, 429]
    assert get(site, tmp_path) == SHA256
    site.fail_with = [503] * 9
    (tmp_path / "a.zip").unlink()
    with pytest.raises(DataError, match="the server answers 503"):
        get(site, tmp_path)


def test_fetch__a_web_page_is_no_archive(site, tmp_path):
    site.kind = "text/html; charset=utf-8"
    with pytest.raises(DataError, match=r"answers with a web page, not a\.zip"):
        get(site, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_fetch__nobody_there(tmp_path):
    with socket.socket() as taken:  # and nobody listens there
        taken.bind(("127.0.0.1", 0))
        address = "http://{}:{}/a.zip".format(*taken.getsockname())
        with pytest.raises(DataError, match=rf"cannot fetch {address}: .*refused"):
            fetch(Archive(url=address, file="a.zip"), tmp_path, tries=2, pause=0.001)


@pytest.mark.parametrize("url", ["http://example.org/a.zip", "ftp://127.0.0.1/a.zip", "file:///etc/passwd"])
def test_fetch__only_https_or_a_known_hash(tmp_path, url):
    with pytest.raises(DataError, match="is no HTTPS address"):
        fetch(Archive(url=url, file="a.zip"), tmp_path)


@pytest.mark.parametrize("where", ["file:///etc/passwd", "ftp://example.org/a.zip"])
def test_fetch__redirects_stay_on_the_web(site, tmp_path, where):
    site.redirect = where
    with pytest.raises(DataError, match=r"which is no HTTPS address|is not allowed"):
        get(site, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_fetch__a_folder_that_cannot_be_made(site, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="cannot write"):
        get(site, tmp_path / "file")


def listing(site, *entries):
    site.kind = "application/json"
    site.files["/articles/7"] = json.dumps({"files": list(entries)}).encode()
    return figshare_files(7, site.address + "/articles/{}")


def test_figshare_files__sizes_and_hashes_come_from_the_listing(site, tmp_path):
    entry = {"name": "a.zip", "size": 300_000, "download_url": f"{site.address}/a.zip", "computed_md5": MD5}
    (found,) = listing(site, entry)
    assert found == archive(site, md5=MD5, size=300_000)
    site.kind = "application/zip"
    assert fetch(found, tmp_path) == SHA256
    with pytest.raises(DataError, match="has md5"):
        fetch(*listing(site, entry | {"computed_md5": "0" * 32}), tmp_path / "b")


def test_figshare_files__a_name_does_not_choose_the_folder(site):
    entry = {"name": "../../etc/a.zip", "size": 1, "download_url": "https://x", "computed_md5": ""}
    assert listing(site, entry)[0].file == "a.zip"
    for name in ("..", "a/..", "/", ""):
        with pytest.raises(DataError, match="is no file name"):
            listing(site, entry | {"name": name})


@pytest.mark.parametrize("content", [b"{broken", b"[]", b'{"files": [{}]}', b'{"files": 3}'])
def test_figshare_files__broken_listings(site, content):
    site.files["/articles/7"] = content
    with pytest.raises(DataError, match="cannot list the files"):
        figshare_files(7, site.address + "/articles/{}")
