"""Settings shared by all tests."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# No deadlines, and no complaint that examples are made slowly: tests run beside each other on two cores. In CI the same
# examples every time, elsewhere new ones.
settings.register_profile(
    "vasomim",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("vasomim")

OF_THE_MACHINE = ("FORCE_COLOR", "NO_COLOR", "LINES", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
"""Variables that change what is printed, or make a process one of several."""


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_machine() -> Iterator[None]:
    """Tests and the processes they start see lines of 80 characters, no colours, no proxy and no cluster."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            is_proxy = name.lower().endswith("_proxy")
            if is_proxy or name in OF_THE_MACHINE or name.startswith(("SLURM_", "TORCHELASTIC_")):
                patch.delenv(name)
        patch.setenv("COLUMNS", "80")
        yield


@pytest.fixture(scope="session", autouse=True)
def _signals_are_heard() -> None:
    """In the background of a script, or under nohup, signals are ignored, by us and by all that tests start."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)


def _seed(number: int) -> None:
    """Start torch's numbers anew, where something has loaded it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(number)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """What fixtures draw does not depend on the tests before."""
    _seed(0)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """What a test draws depends neither on the tests before nor on the fixtures that were there already."""
    _seed(1)
