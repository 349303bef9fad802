"""Ctrl-C, SIGTERM and a closed terminal become a flag that the loop reads between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopFlag:
    """Whether someone asked the run to stop."""

    def __init__(self) -> None:
        """Nobody has yet."""
        self.requested = False

    def __call__(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's signature
        """Note a signal; a second Ctrl-C does not wait for the step to end.

        Raises:
            KeyboardInterrupt: the second SIGINT.
        """
        if self.requested and signum == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True


@contextmanager
def stop_signals() -> Iterator[StopFlag]:
    """Catch SIGINT, SIGTERM and SIGHUP inside the block; the handlers there were come back after it.

    What is ignored stays so, as SIGHUP under nohup. Only the main thread may set handlers; elsewhere the flag is simply
    never raised.
    """
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    heard = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, flag) for number in heard}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
