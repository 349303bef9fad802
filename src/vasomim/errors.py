"""Errors that people see: one line saying what we got, what we need and what to do.

The command line prints the message of a `VasomimError` and exits with its `exit_code`; no traceback.
"""

from __future__ import annotations

from collections.abc import Sequence


def first_few(texts: Sequence[str], limit: int = 5, between: str = ", ") -> str:
    """The first texts and how many more there are, for messages."""
    more = f" and {len(texts) - limit} more" if len(texts) > limit else ""
    return between.join(texts[:limit]) + more


class VasomimError(Exception):
    """Something failed that a person can mend; the message says how."""

    exit_code = 1
    told = False
    """Whether another process of the same run says it; this one then ends without a word."""


class MisuseError(VasomimError, ValueError):
    """The call itself is wrong: a missing input, a bad flag, a folder of another run."""

    exit_code = 2


class ConfigError(MisuseError):
    """A recipe or flag holds an unknown key or a bad value; the message lists every mistake found."""


class MissingExtraError(MisuseError, ImportError):
    """An optional dependency is not installed; the message names the pip command."""


class DataError(VasomimError):
    """A frame, mask or annotation file cannot be used as it is."""


class WriteError(VasomimError):
    """A file or folder cannot be written, for example because the disk is full: no frame's fault, so work stops."""


class LongNameError(DataError, WriteError):
    """A file cannot be called what it should be: its name, or its path, is too long for the file system.

    As other names may do, it counts among what is wrong with one frame.
    """


class CheckpointError(VasomimError):
    """A checkpoint or weight file is corrupt, foreign, or of another architecture."""


class TrainingError(VasomimError):
    """Training cannot go on, for example because losses stay non-finite."""


class Interrupted(VasomimError):
    """Stopped by Ctrl-C or SIGTERM after saving; the message says how to go on."""

    exit_code = 130
