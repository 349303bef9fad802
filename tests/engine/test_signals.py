"""Signals become a flag, and handlers come back."""

from __future__ import annotations

import signal
import threading

import pytest

from vasomim.engine.signals import stop_signals

CAUGHT = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.mark.parametrize("number", CAUGHT)
def test_stop_signals__raise_the_flag_and_restore_the_handlers(number):
    before = {n: signal.getsignal(n) for n in CAUGHT}
    with stop_signals() as stop:
        assert not stop.requested
        signal.raise_signal(number)
        assert stop.requested
    assert before == {n: signal.getsignal(n) for n in CAUGHT}


def test_stop_signals__leave_what_is_ignored_alone():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_signals() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.requested
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_stop_signals__let_a_second_ctrl_c_through():
    before = signal.getsignal(signal.SIGINT)
    with stop_signals() as stop:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_stop_signals__do_nothing_in_another_thread():
    flags = []

    def work() -> None:
        with stop_signals() as stop:
            flags.append(stop.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert flags == [False]
