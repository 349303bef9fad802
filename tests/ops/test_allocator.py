"""The C library keeps what is freed, where it can."""

from __future__ import annotations

import ctypes
import platform

import pytest

from vasomim.ops.allocator import keep_freed_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_keep_freed_memory__with_glibc() -> None:
    assert keep_freed_memory()


def test_keep_freed_memory__with_another_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert not keep_freed_memory()
