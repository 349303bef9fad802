"""The folder of a run: its settings, its facts, its metrics; one run a folder, one writer at a time."""

from __future__ import annotations

import difflib
import json
import logging
import math
import platform
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import IO, Any, Self

import yaml

from vasomim._version import __version__
from vasomim.errors import MisuseError, VasomimError
from vasomim.files import clear_leftovers, contents, take_folder, write_text, writing

FRAMES = {"data": "the frames", "held_out": "the frames held out"}
"""Facts by which a run that goes on tells that its frames are still the same."""
_FORMAT = 1
_SHOWN = 3
"""Settings that a message names where two runs differ."""
_log = logging.getLogger(__name__)


class RunFolder:
    """An open run folder. Use it as a context manager, so that the lock goes and the end is noted."""

    def __init__(self, path: Path, verb: str, record: dict[str, Any], lock: IO[str] | None) -> None:
        """Hold an opened folder; callers take `RunFolder.open`."""
        self.path = path
        self.verb = verb
        self.record = record
        """What run.json holds."""
        self._lock = lock

    @classmethod
    def open(
        cls,
        path: Path,
        config_text: str,
        verb: str,
        facts: Mapping[str, Any],
        *,
        identity: str | None = None,
        usual: str = "",
        writer: bool = True,
    ) -> RunFolder:
        """Create the run folder, or reopen it to go on with the same run.

        A folder in which a run was begun but nothing was trained yet is taken over by the new settings.

        Args:
            path: the folder; made where it is missing.
            config_text: the resolved settings, written to config.yaml.
            verb: the command, such as `pretrain`.
            facts: what else run.json should tell: seed, device, inputs, rasteriser.
            identity: text of the settings that make this run this run; those left out of it may change when it is
                continued. All settings count where it is None.
            usual: text of the same settings at their defaults: what a run says nothing of, as it was begun by a version
                that had no such setting, is taken to be there.
            writer: False on every process but the first: nothing is locked or written.

        Raises:
            MisuseError: the folder holds something else, another run, or a run that another process is writing.
            VasomimError: the folder cannot be written.
        """
        identity = config_text if identity is None else identity
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
        lock = take_folder(path) if writer else None
        try:
            record = _adopt(path, verb, identity, usual)
            record["identity"] = identity
            record["facts"] = {**record.get("facts", {}), **facts}
            if writer:
                clear_leftovers(path)
                record.setdefault("sessions", []).append(_session())
                (path / "metrics.jsonl").touch()
                write_text(path / "config.yaml", config_text)
            run = cls(path, verb, record, lock)
            run._save_record()
        except BaseException:
            if lock is not None:
                lock.close()
            raise
        return run

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def export(self) -> Path:
        """Folder of the exported weights."""
        return self.path / "export"

    @property
    def writes(self) -> bool:
        """Whether this process writes the folder."""
        return self._lock is not None

    def note(self, **facts: Any) -> None:
        """Add facts to run.json.

        Raises:
            MisuseError: a fact of `FRAMES`, a fingerprint of frames, is not that of the training so far.
        """
        if _trained(self.path):
            for name in FRAMES.keys() & facts.keys():
                self._check_frames(name, _plain(facts[name]))
        self.record["facts"].update(_plain(facts))
        self._save_record()

    def _check_frames(self, name: str, now: Any) -> None:
        known = self.record["facts"].get(name)
        if known is not None and known != now:
            raise MisuseError(
                f"{FRAMES[name]} are not those that the run in {self.path} began with (recorded {_short(known)}, now "
                f"{_short(now)}); bring them back, or start a new run with another --out"
            )
        if known is None and name == "held_out":
            _log.warning(
                "the run in %s does not say which frames it held out, as it was begun by an earlier version: of frames "
                "with patients or copies, others may be held out from now on",
                self.path,
            )

    def append(self, values: Mapping[str, Any]) -> None:
        """Add one line to metrics.jsonl; numbers that are not finite become null.

        Raises:
            VasomimError: it cannot be written.
        """
        if not self.writes:
            return
        with writing(self.path / "metrics.jsonl"), (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(_plain(values)) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; a last line cut off by a crash is left out."""
        return read_metrics(self.path / "metrics.jsonl")

    def truncate_metrics(self, step: int) -> None:
        """Drop the lines after `step`: the run goes on from there and will write them again.

        Raises:
            VasomimError: it cannot be written.
        """
        if not self.writes:
            return
        lines = self.metrics()
        kept = [line for line in lines if line.get("step", 0) <= step]
        write_text(self.path / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in kept))

    def close(self, outcome: str = "finished") -> None:
        """Note how this session ended and let go of the folder. Closing twice is harmless."""
        if self._lock is None:
            return
        self.record["sessions"][-1].update(ended=_now(), outcome=outcome)
        try:
            self._save_record()
        finally:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        """The open folder itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Close, with the error's name as the outcome if there was one."""
        if kind is None:
            self.close()
            return
        with suppress(VasomimError):  # a full disk must not hide why the run ended
            self.close(kind.__name__)

    def _save_record(self) -> None:
        if self.writes:
            write_text(self.path / "run.json", json.dumps(_plain(self.record), indent=2) + "\n")


def _adopt(path: Path, verb: str, identity: str, usual: str) -> dict[str, Any]:
    """What run.json says of the run to go on with, or a fresh record for a folder that is free."""
    fresh: dict[str, Any] = {"format_version": _FORMAT, "verb": verb, "versions": versions(), "git": git_commit()}
    there = contents(path)
    if not there:
        return fresh
    try:
        record = json.loads((path / "run.json").read_text(encoding="utf-8"))
        verb_there, identity_there = str(record["verb"]), str(record["identity"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise MisuseError(
            f"{path} is not empty and holds no run that could be continued (no valid run.json beside "
            f"{', '.join(there[:3])}); choose another --out, or empty it"
        ) from None
    if verb_there == verb and _is_same(identity_there, identity, usual):
        return {**record, "versions": versions(), "git": git_commit()}
    if not _trained(path):
        (path / "metrics.jsonl").unlink(missing_ok=True)
        return fresh
    why = f"a `{verb_there}` run" if verb_there != verb else f"another run: {_differences(identity_there, identity)}"
    raise MisuseError(f"{path} holds {why}; choose another --out, or delete the folder to start again")


def _is_same(there: str, now: str, usual: str) -> bool:
    """Whether two texts of settings say the same, what the first says nothing of being at its default."""
    if there == now:
        return True
    try:
        old, new, default = (yaml.safe_load(text) for text in (there, now, usual))
    except yaml.YAMLError:
        return False
    return all(isinstance(each, dict) for each in (old, new, default)) and _completed(old, default) == new


def _completed(settings: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    """Settings, nested ones too, with those that are missing at their defaults."""
    sections = {
        name: _completed(value, default[name])
        for name, value in settings.items()
        if isinstance(value, dict) and isinstance(default.get(name), dict)
    }
    return {**default, **settings, **sections}


def _trained(path: Path) -> bool:
    """Whether anything would be lost if the folder were started over."""
    return any((path / "checkpoints").glob("*.pt")) or any((path / "export").glob("*"))


def _differences(there: str, now: str) -> str:
    """The first settings that differ, as `there: "lr: 0.1", now: "lr: 0.2"`."""
    changed = [line for line in difflib.ndiff(there.splitlines(), now.splitlines()) if line[:2] in ("- ", "+ ")]
    parts = {"- ": "there", "+ ": "now"}
    shown = ", ".join(f'{parts[line[:2]]} "{line[2:].strip()}"' for line in changed[: 2 * _SHOWN])
    return shown + (f" and {len(changed) - 2 * _SHOWN} more lines" if len(changed) > 2 * _SHOWN else "")


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    found = {"vasomim": __version__, "python": platform.python_version()}
    for name in ("torch", "numpy", "opencv-python-headless", "scikit-image", "lightning-fabric"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_commit() -> dict[str, Any] | None:
    """Commit of the checkout this package runs from and whether files changed since; None where it is installed."""
    here = Path(__file__)
    git = ["git", "-C", str(here.parent)]
    try:
        subprocess.run([*git, "ls-files", "--error-unmatch", here.name], check=True, capture_output=True, timeout=10)
        head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True, timeout=10)
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": head.stdout.strip(), "changed": bool(changed.stdout.strip())}


def _session() -> dict[str, Any]:
    return {"started": _now(), "command": sys.argv, "platform": platform.platform()}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _plain(value: Any) -> Any:
    """Values that JSON knows: paths as text, numbers that are not finite as null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, (str, int, bool, type(None))) else str(value)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl, none where it is missing; a last one that was cut off by a crash is left out."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict):
            lines.append(line)
    return lines
