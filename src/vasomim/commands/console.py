"""Progress on stderr, so that stdout stays free for results."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from json import dumps
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

_CONSOLE = Console(stderr=True)


def only_listen() -> None:
    """Say nothing from now on but errors: of the processes of a run, the first one speaks for all."""
    _CONSOLE.quiet = True
    logging.getLogger("vasomim").setLevel(logging.ERROR)


class Advance(Protocol):
    """Move a progress bar on and show values behind it."""

    def __call__(self, count: int, /, **values: str) -> None: ...


@contextmanager
def progress_bar(description: str, total: int, unit: str = "frame") -> Iterator[Advance]:
    """A bar with count, time gone, time left and the latest values; one line at the end where stderr is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn(unit + "s"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[values]}"),
    )
    with Progress(*columns, console=_CONSOLE, refresh_per_second=4) as progress:
        task = progress.add_task(description, total=total, values="")

        def advance(count: int, /, **values: str) -> None:
            if values:
                progress.update(task, values=" ".join(f"{name} {value}" for name, value in values.items()))
            progress.advance(task, count)

        yield advance


@contextmanager
def byte_bars() -> Iterator[Callable[[str], Callable[[int, int | None], None]]]:
    """Bars for files, one below the other: called with a name, gives what to tell the bytes done and to do."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=4) as progress:

        def start(name: str) -> Callable[[int, int | None], None]:
            task = progress.add_task(name, total=None)
            return lambda done, total: progress.update(task, completed=done, total=total)

        yield start


def say(text: str) -> None:
    """A line for the person at the terminal, on stderr."""
    if not _CONSOLE.quiet:
        print(text, file=sys.stderr)


def warn(text: str) -> None:
    """A warning, on stderr."""
    say(f"vasomim: warning: {text}")


def print_result(result: Mapping[str, object], *, json: bool) -> None:
    """The result of a verb on stdout: one JSON object, or `name: value` lines."""
    if _CONSOLE.quiet:
        return
    if json:
        print(dumps(result))
        return
    for name, value in result.items():
        print(f"{name}: {value:.4f}" if isinstance(value, float) else f"{name}: {value}")
