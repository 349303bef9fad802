"""`vasomim VERB ...`: finds the verb, reads its settings, runs it, and says in one line what went wrong."""

from __future__ import annotations

import errno
import importlib
import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from vasomim._version import __version__
from vasomim.cli.verbs import VERBS, Verb, find_verb, overview, parts_of
from vasomim.config.loading import input_paths, load_config
from vasomim.errors import MisuseError, VasomimError

DONE, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0 done, 1 failed, 2 misused, 130 interrupted.

    Args:
        arguments: what follows `vasomim`; none takes those of the process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    verbose = bool({"-v", "--verbose"} & set(given))
    try:
        with _one_line_warnings(), _stopped_as_by_ctrl_c():
            status = _dispatch(given)
            sys.stdout.flush()
            return status
    except SystemExit as stop:  # tyro leaves so after help (0) and after a flag it does not know (2)
        return int(stop.code or DONE)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        return _closed_pipe()
    except VasomimError as problem:
        return problem.exit_code if problem.told else _fail(str(problem), problem.exit_code, traced=verbose)
    except OSError as problem:
        return _fail(_os_error(problem), FAILED, traced=verbose)
    except Exception as problem:
        hint = "" if verbose else " (-v shows the traceback)"
        return _fail(f"{type(problem).__name__}: {' '.join(str(problem).split())}{hint}", FAILED, traced=verbose)


def _dispatch(arguments: Sequence[str]) -> int:
    first = arguments[0] if arguments else None
    if first is None:
        print(overview(), file=sys.stderr)
        return MISUSED
    if first in {"-h", "--help", "help"}:
        print(overview())
        return DONE
    if first == "--version":
        print(__version__)
        return DONE
    if parts_of(first) and {"-h", "--help"} & set(arguments[1:2]):
        print(overview(first))
        return DONE
    name, rest = find_verb(arguments)
    return _run(name, VERBS[name], rest)


def _run(name: str, verb: Verb, arguments: Sequence[str]) -> int:
    """Settings first, then missing inputs, and only then the imports of the verb."""
    from vasomim.cli.flags import parse  # loads tyro, which `vasomim --help` can do without

    invocation = parse(verb.config, arguments, f"vasomim {name}")
    _set_up_logging(verbose=invocation.verbose)
    config = load_config(verb.config, invocation.recipe, invocation.overrides)
    _require_paths(config, verb)
    command = importlib.import_module(verb.module)
    status: int = command.run(config, json=invocation.json, verbose=invocation.verbose)
    return status


def _require_paths(config: object, verb: Verb) -> None:
    """Inputs are there, and `out` is, or can become, a folder."""
    if verb.needs_inputs and not getattr(config, "inputs", ()):
        raise MisuseError("no INPUT given; name a file or folder to read")
    missing = [f"{name}: {path}" for name, path in input_paths(config) if not path.exists()]
    if missing:
        raise MisuseError(f"no such file or folder: {', '.join(missing)}; check the spelling and the working folder")
    out: Path | None = getattr(config, "out", None)
    if out is not None and out.exists() and not out.is_dir():
        raise MisuseError(f"--out {out} is a file, need a folder, which may be new; give another --out")


def _set_up_logging(*, verbose: bool) -> None:
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, stream=sys.stderr, format="vasomim: %(levelname)s: %(message)s")


@contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Shows a warning as one line on stderr, without the source line that raised it."""

    def show(message: Warning | str, category: type[Warning], *place: object, **more: object) -> None:  # noqa: ARG001
        print(f"vasomim: warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


@contextmanager
def _stopped_as_by_ctrl_c() -> Iterator[None]:
    """SIGTERM, and SIGHUP where the terminal closes, stop as Ctrl-C does: what is done stays and the end is told.

    A signal that is ignored, as under nohup, stays so. Trainings take all three themselves, and save first.
    """
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():  # no other may set handlers
        numbers = []
    ours = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _fail(message: str, status: int, *, traced: bool = False) -> int:
    if traced:
        traceback.print_exc()
    print(f"vasomim: error: {message}", file=sys.stderr)
    return status


def _os_error(problem: OSError) -> str:
    where = f": {problem.filename}" if problem.filename else ""
    if problem.errno in {errno.ENOSPC, errno.EDQUOT}:
        return (
            f"no space left on the disk{where}; free some, or choose an --out elsewhere, and run the same command again"
        )
    return f"{problem.strerror or problem}{where}"


def _closed_pipe() -> int:
    """The reader of our output has gone (`| head`): nothing to say, and nothing must be said at exit either."""
    with suppress(OSError):  # stdout may be no file at all
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED
