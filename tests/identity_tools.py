"""Who is named in a text."""

from __future__ import annotations

import re
from collections.abc import Iterable


def told(text: str | bytes, secrets: Iterable[str]) -> list[str]:
    """Those of some lower-case secrets that stand in a text, in whatever case.

    A number counts where it stands for itself: among the digits of a UID, a hash or a measured time any six follow each
    other by chance, once in many runs.
    """
    content = (text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")).lower()
    return [secret for secret in secrets if re.search(_pattern(secret), content)]


def _pattern(secret: str) -> bytes:
    found = re.escape(secret.encode())
    return rb"(?<![0-9a-f.])" + found + rb"(?![0-9a-f])" if secret.isdigit() else found
