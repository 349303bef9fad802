"""The command line answers quickly, says in one line what is wrong, and exits 0, 1 or 2."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vasomim._version import __version__
from vasomim.cli.app import main
from vasomim.cli.verbs import VERBS, Verb
from vasomim.config import ExtractConfig, PretrainConfig
from vasomim.errors import DataError, Interrupted, MisuseError

Run = Callable[..., int]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[[Run], None]:
    """Puts a function in the place of a verb, as `vasomim play`."""

    def install(run: Run, config: type[Any] = ExtractConfig, *, needs_inputs: bool = False) -> None:
        module = types.ModuleType("vasomim_test_play")
        module.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(VERBS, "play", Verb(config, module.__name__, "plays", needs_inputs))

    return install


def raising(problem: BaseException) -> Run:
    def run(config: object, *, json: bool, verbose: bool) -> int:  # noqa: ARG001
        raise problem

    return run


def in_new_process(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vasomim", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, **options)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["info"], ["info", "--json"], ["pretrain", "--help"], ["predict", "nowhere"], ["pretran"]]
)
def test_main__answers_without_torch_or_opencv(arguments: list[str]) -> None:
    program = (
        "import sys; from vasomim.cli.app import main; main(sys.argv[1:]);"
        "assert not {'torch', 'cv2', 'skimage', 'scipy'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_main__help_takes_less_than_300_ms() -> None:
    # Processor time: the clock would measure what else the machine is doing.
    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    def least(*command: str) -> float:
        durations = []
        for _ in range(3):
            before = spent()
            subprocess.run([sys.executable, *command], stdout=subprocess.DEVNULL, check=True)
            durations.append(spent() - before)
        return min(durations)

    # On a slow machine a part of the standard library, a fifth of it, takes longer, too.
    library = least("-c", "import argparse, dataclasses, inspect, json, subprocess, typing")
    assert least("-m", "vasomim", "--help") < max(0.3, 5 * library)


def test_main__help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown and verb.help in shown for name, verb in VERBS.items())


@pytest.mark.parametrize("verb", VERBS)
def test_main__help_of_every_verb(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*verb.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"usage: vasomim {verb}" in shown
    assert "--config FILE" in shown
    assert "--json" in shown


def test_main__version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


def test_main__nothing_given_is_misuse(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "usage: vasomim VERB" in shown.err


@pytest.mark.parametrize(
    ("given", "hint"), [("pretran", "did you mean pretrain?"), ("xyz", "choose one of demo, info")]
)
def test_main__unknown_verb_names_the_nearest(given: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([given]) == 2
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize("verb", [name for name, verb in VERBS.items() if verb.needs_inputs])
def test_main__no_input_is_misuse(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(verb.split()) == 2
    assert capsys.readouterr().err == "vasomim: error: no INPUT given; name a file or folder to read\n"


def test_main__missing_inputs_are_named_before_the_verb_loads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], play: Callable[..., None]
) -> None:
    play(raising(AssertionError("must not run")), PretrainConfig, needs_inputs=True)
    (tmp_path / "there").mkdir()
    arguments = [str(tmp_path / "there"), str(tmp_path / "gone"), "--segmentor", str(tmp_path / "lost")]
    assert main(["play", *arguments]) == 2
    shown = capsys.readouterr().err
    assert f"inputs: {tmp_path / 'gone'}, segmentor: {tmp_path / 'lost'}" in shown
    assert "there" not in shown
    assert len(shown.splitlines()) == 1


def test_main__out_that_is_a_file_is_misuse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], play: Callable[..., None]
) -> None:
    play(raising(AssertionError("must not run")))
    (tmp_path / "out").write_text("mine")
    assert main(["play", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "is a file, need a folder" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "mine"


def test_main__bad_flag_is_misuse(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["synthesize", "--sise", "64"]) == 2
    assert "--size" in capsys.readouterr().err


def test_main__bad_values_are_all_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["synthesize", "--size", "6", "--num-frames", "x", "--bits", "12"]) == 2
    shown = capsys.readouterr().err
    assert "3 mistakes in the settings" in shown
    assert "num_frames: got 'x', need a whole number" in shown
    assert "bits: got '12', need one of 8, 16" in shown
    assert "size must be at least 64, got 6" in shown


def test_main__hands_over_settings_and_returns_the_status(
    tmp_path: Path, play: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[object] = []

    def run(config: ExtractConfig, *, json: bool, verbose: bool) -> int:
        seen.extend([config, json, verbose])
        return 1

    play(run)
    assert main(["play", str(tmp_path), "--out", "somewhere", "--json", "--method", "reference"]) == 1
    assert seen == [ExtractConfig(inputs=(tmp_path,), out=Path("somewhere"), method="reference"), True, False]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_main__signals_to_end_stop_as_ctrl_c_does(
    number: signal.Signals, play: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    def run(config: object, **flags: object) -> int:  # noqa: ARG001 - what a verb takes
        os.kill(os.getpid(), number)
        time.sleep(5)
        return 0

    play(run)
    before = signal.signal(number, signal.SIG_DFL)  # under nohup one is ignored
    try:
        assert main(["play"]) == 130
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)
    assert capsys.readouterr().err == "vasomim: error: interrupted\n"


def test_main__a_signal_that_is_ignored_stays_so(play: Callable[..., None]) -> None:
    def run(config: object, **flags: object) -> int:  # noqa: ARG001 - what a verb takes
        os.kill(os.getpid(), signal.SIGHUP)
        return 0

    play(run)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        assert main(["play"]) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("problem", "status", "line"),
    [
        (DataError("frame.png is truncated; remove it"), 1, "frame.png is truncated; remove it"),
        (MisuseError("out holds another run"), 2, "out holds another run"),
        (Interrupted("stopped at step 3; run again to go on"), 130, "stopped at step 3; run again to go on"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (
            OSError(errno.ENOSPC, "No space left on device", "o/m.png"),
            1,
            "no space left on the disk: o/m.png; free some",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "o"), 1, "Permission denied: o"),
        (RuntimeError("two\nlines"), 1, "RuntimeError: two lines (-v shows the traceback)"),
    ],
)
def test_main__problems_are_one_line_on_stderr(
    problem: BaseException,
    status: int,
    line: str,
    play: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    play(raising(problem))
    assert main(["play", "--json"]) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"vasomim: error: {line}")
    assert len(shown.err.splitlines()) == 1


def test_main__verbose_shows_the_traceback(play: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    play(raising(RuntimeError("odd")))
    assert main(["play", "-v"]) == 1
    shown = capsys.readouterr().err
    assert "Traceback (most recent call last)" in shown
    assert shown.endswith("vasomim: error: RuntimeError: odd\n")


def test_main__warnings_are_one_line(play: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    def run(config: object, *, json: bool, verbose: bool) -> int:  # noqa: ARG001
        warnings.simplefilter("always")
        warnings.warn("eta has no effect", UserWarning, stacklevel=1)
        return 0

    play(run)
    assert main(["play"]) == 0
    assert capsys.readouterr().err == "vasomim: warning: eta has no effect\n"


def test_main__closed_pipe_is_quiet() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "vasomim", "info"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_main__json_is_alone_on_stdout() -> None:
    done = in_new_process("info", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["vasomim"] == __version__
    assert done.stderr == ""
