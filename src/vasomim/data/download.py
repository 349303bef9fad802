"""Fetching files over HTTPS: resumed where they broke off, checked by their hash, whole or absent."""

from __future__ import annotations

import hashlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from vasomim._version import __version__
from vasomim.data.registry import Archive
from vasomim.errors import DataError
from vasomim.files import writing

Progress = Callable[[int, int | None], object]
"""Called with the bytes there are and the bytes there will be, None where nobody knows."""

CHUNK = 2**20
TIMEOUT = 60.0
"""Seconds without a byte after which a connection counts as broken."""
NO_SUCH_RANGE = 416
"""Status of an answer without content: not a byte of the file lies in the range asked for (RFC 9110, 15.5.17)."""
LISTING_LIMIT = 2**22
FIGSHARE = "https://api.figshare.com/v2/articles/{}"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def fetch(archive: Archive, folder: Path, progress: Progress | None = None, tries: int = 5, pause: float = 2.0) -> str:
    """Fetch a file into a folder, going on where an earlier call broke off.

    What has arrived waits in FILE.part beside FILE.part.json, which remembers the address and the version of the file;
    another version starts anew. A server that does not resume starts anew, too. Only the whole file with the right hash
    gets its name.

    Args:
        archive: Address, name, and hash where it is known.
        folder: Where to; made where missing.
        progress: Told of every piece.
        tries: Connections that may break without any progress before this gives up.
        pause: Seconds before the first new connection; doubled for every further one.

    Returns:
        The file's sha256, in hexadecimal digits.

    Raises:
        DataError: no connection, an answer other than the file, or a wrong hash or size.
        WriteError: nothing can be written.
    """
    _check_scheme(archive)
    whole = folder / archive.file
    with writing(whole):
        if whole.is_file():
            return _checked(whole, archive)
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{archive.file}.part"
        _fetch_part(archive, part, progress, tries, pause)
        digest = _checked(part, archive)
        part.replace(whole)
        _note(part).unlink(missing_ok=True)
    return digest


def _check_scheme(archive: Archive) -> None:
    """Plain HTTP can be changed on its way: it is for files whose hash is known, and for this machine."""
    parts = urlsplit(archive.url)
    plain = parts.scheme == "http" and (archive.sha256 is not None or parts.hostname in LOOPBACK)
    if parts.scheme != "https" and not plain:
        raise DataError(f"{archive.url} is no HTTPS address, and no hash is known to check the file by; get it by hand")


def _fetch_part(archive: Archive, part: Path, progress: Progress | None, tries: int, pause: float) -> None:
    """All bytes into FILE.part, over as many connections as it takes."""
    left = tries
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _receive(archive, part, progress):
                return
            reason = "the connection ended early"
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                raise DataError(
                    f"{archive.url} answers {error.code} {error.reason}; see the data set's page"
                ) from error
            reason = f"the server answers {error.code} {error.reason}"
        except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
            reason = str(getattr(error, "reason", "")) or str(error) or type(error).__name__
        # A connection that brought something is no failure: large files come in many pieces.
        left = tries if part.exists() and part.stat().st_size > before else left - 1
        if left <= 0:
            raise DataError(f"cannot fetch {archive.url}: {reason}; the same command goes on from where it stopped")
        time.sleep(pause * 2 ** (tries - left))


def _receive(archive: Archive, part: Path, progress: Progress | None) -> bool:
    """Go on where an earlier connection left off, or start anew; whether the file is complete now."""
    start = _resumable(archive, part)
    try:
        return _receive_from(start, archive, part, progress)
    except urllib.error.HTTPError as error:
        if not (start and error.code == NO_SUCH_RANGE):
            raise
        complete = error.headers.get("Content-Range") == f"bytes */{start}"
    if complete:  # an earlier call was stopped before the file got its name
        if progress is not None:
            progress(start, start)
        return True
    part.unlink()
    return _receive(archive, part, progress)


def _receive_from(start: int, archive: Archive, part: Path, progress: Progress | None) -> bool:
    """One connection; whether the file is complete now."""
    with _open(archive.url, start, _read_note(part).get("version")) as answer:
        if start and not _continues(answer, start):
            start = 0
        total = _total(answer, start)
        if archive.size is not None and total is not None and total != archive.size:
            raise DataError(f"{archive.url} holds {total} bytes, not {archive.size}; it has changed: see its page")
        _check_kind(answer, archive)
        version = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
        _note(part).write_text(json.dumps({"url": archive.url, "version": version}), encoding="utf-8")
        with part.open("r+b" if start else "wb") as file:
            file.seek(start)
            file.truncate()
            done = _copy(answer, file, start, total, progress)
    return total is None or done >= total


def _copy(answer: HTTPResponse, file: IO[bytes], done: int, total: int | None, progress: Progress | None) -> int:
    while total is None or done < total:
        piece = _read(answer, CHUNK if total is None else min(CHUNK, total - done))
        if not piece:
            break
        file.write(piece)
        done += len(piece)
        if progress is not None:
            progress(done, total)
    return done


def _read(answer: HTTPResponse, size: int) -> bytes:
    """The next bytes; whoever writes them takes another OSError for one of the disk."""
    try:
        return answer.read(size)
    except OSError as error:
        raise ConnectionError(error.strerror or str(error)) from error


def _open(url: str, start: int, version: str | None) -> HTTPResponse:
    """A connection that asks for the bytes from `start` on, if the file is still the same version."""
    headers = {"User-Agent": f"vasomim/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        headers["If-Range"] = version or ""
    opener = urllib.request.build_opener(_SafeRedirects)
    answer: HTTPResponse = opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    return answer


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from HTTPS to anything less."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if new.scheme not in ("http", "https") or (old.scheme == "https" and new.scheme != "https"):
            raise DataError(f"{req.full_url} leads to {newurl}, which is no HTTPS address; get the file by hand")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _resumable(archive: Archive, part: Path) -> int:
    """Bytes that an earlier connection left of the same version; without a version none, as they cannot be told."""
    note = _read_note(part)
    if not part.is_file() or note.get("url") != archive.url or not _is_strong(note.get("version")):
        return 0
    return part.stat().st_size


def _is_strong(version: object) -> bool:
    """Weak tags (W/"...") do not promise equal bytes."""
    return isinstance(version, str) and bool(version) and not version.startswith("W/")


def _continues(answer: HTTPResponse, start: int) -> bool:
    """Whether the server resumes at `start`; 200 means that it sends everything again."""
    if answer.status != 206:
        return False
    stated = answer.headers.get("Content-Range", "")
    if not stated.startswith(f"bytes {start}-"):
        raise DataError(f"{answer.url} was asked to go on at byte {start}, answers {stated!r}; remove the .part file")
    return True


def _total(answer: HTTPResponse, start: int) -> int | None:
    stated = answer.headers.get("Content-Range", "").rpartition("/")[2] if answer.status == 206 else ""
    if stated.isdecimal():
        return int(stated)
    length = answer.headers.get("Content-Length", "")
    return start + int(length) if length.isdecimal() else None


def _check_kind(answer: HTTPResponse, archive: Archive) -> None:
    if answer.headers.get_content_type() == "text/html" and not archive.file.endswith((".html", ".htm")):
        raise DataError(f"{archive.url} answers with a web page, not {archive.file}; get it from the data set's page")


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_note(part: Path) -> Mapping[str, Any]:
    try:
        note = json.loads(_note(part).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) else {}


def _checked(file: Path, archive: Archive) -> str:
    """The sha256 of a file, after comparing what is known of it; a wrong .part is removed, as nothing can mend it.

    Raises:
        DataError: another hash or size.
    """
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with file.open("rb") as stream:
        while piece := stream.read(CHUNK):
            sha256.update(piece)
            md5.update(piece)
    for name, wanted, found in (
        ("sha256", archive.sha256, sha256.hexdigest()),
        ("md5", archive.md5, md5.hexdigest()),
        ("size", archive.size, file.stat().st_size),
    ):
        if wanted is not None and wanted != found:
            part = file.name.endswith(".part")
            if part:
                file.unlink()
                _note(file).unlink(missing_ok=True)
            what = "it was removed: run the same command again" if part else "remove it and run the same command again"
            raise DataError(f"{file} has {name} {found}, not {wanted}: it is damaged or was changed; {what}")
    return sha256.hexdigest()


def figshare_files(article: int, address: str = FIGSHARE) -> list[Archive]:
    """The files of a public article of figshare.com, with the sizes and md5 that its interface states.

    Raises:
        DataError: no connection, or an answer that lists no files.
    """
    url = address.format(article)
    try:
        with _open(url, 0, None) as answer:
            listing = json.loads(answer.read(LISTING_LIMIT))
        return [
            Archive(
                url=str(entry["download_url"]),
                file=_plain_name(str(entry["name"])),
                md5=entry.get("computed_md5") or entry.get("supplied_md5") or None,
                size=int(entry["size"]),
            )
            for entry in listing["files"]
        ]
    except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
        raise DataError(f"cannot list the files of {url}: {error}; get them from the data set's page") from error


def _plain_name(name: str) -> str:
    """A file name without folders, as another's listing must not choose where we write."""
    plain = name.replace("\\", "/").rpartition("/")[2]
    if plain in ("", ".", ".."):
        raise ValueError(f"{name!r} is no file name")
    return plain
