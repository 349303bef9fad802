"""A web server on this machine that does what real ones do wrong: break off, ignore ranges, change, redirect, fail."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Site:
    """What the server serves and how it behaves; requests are recorded."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.kind = "application/zip"
        self.break_after: list[int] = []
        """Bytes to send before breaking off, one entry for each of the next connections."""
        self.fail_with: list[int] = []
        """Status of the next answers."""
        self.ranges = True
        self.tagged = True
        self.lengths = True
        self.shift = 0
        """By how much a range starts too late."""
        self.redirect: str | None = None
        self.requests: list[dict[str, str]] = []
        self.address = ""

    def tag(self, content: bytes) -> str:
        return f'"{hashlib.md5(content).hexdigest()}"'


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            site.requests.append(dict(self.headers))
            if site.fail_with:
                self.send_error(site.fail_with.pop(0))
                return
            if site.redirect is not None:
                self.send_response(302)
                self.send_header("Location", site.redirect)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content = site.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            self._send(content)

        def _send(self, content: bytes) -> None:
            start, asked = 0, self.headers.get("Range", "")
            same = self.headers.get("If-Range") == site.tag(content)
            if asked and site.ranges and same:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
                if start >= len(content):
                    self._refuse_range(len(content))
                    return
                self.send_response(206)
                shown = start + site.shift
                self.send_header("Content-Range", f"bytes {shown}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            if site.tagged:
                self.send_header("ETag", site.tag(content))
            self.send_header("Content-Type", site.kind)
            if site.lengths:
                self.send_header("Content-Length", str(len(content) - start))
            else:
                self.send_header("Connection", "close")
            self.end_headers()
            end = start + site.break_after.pop(0) if site.break_after else len(content)
            self.wfile.write(content[start:end])
            if end < len(content) or not site.lengths:
                self.close_connection = True

        def _refuse_range(self, length: int) -> None:
            """416, as no byte of the range exists (RFC 9110, 15.5.17)."""
            self.send_response(416)
            if site.lengths:
                self.send_header("Content-Range", f"bytes */{length}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def serve() -> Iterator[Site]:
    """A running server; `site.address` is where."""
    site = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(site))
    site.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
