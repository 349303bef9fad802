"""A run folder holds one run, is written by one process, and says what it refuses."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vasomim.engine import run_folder
from vasomim.engine.run_folder import RunFolder
from vasomim.errors import MisuseError, VasomimError

CONFIG = "optim:\n  lr: 0.1\n  steps: 400\nseed: 0\n"


def open_run(path: Path, config: str = CONFIG, verb: str = "pretrain", **kwargs) -> RunFolder:
    return RunFolder.open(path, config, verb, {"seed": 0}, **kwargs)


def trained(path: Path) -> Path:
    """A run folder with something to lose."""
    with open_run(path) as run:
        run.checkpoints.mkdir()
        (run.checkpoints / "step_00000004.pt").write_bytes(b"weights")
    return path


def test_open__writes_settings_and_facts(tmp_path):
    with open_run(tmp_path / "deep" / "run") as run:
        run.note(data={"frames": 3, "sha256": "ab"}, path=Path("x"))
        assert run.path == tmp_path / "deep" / "run"
        assert (run.verb, run.writes) == ("pretrain", True)
    assert (run.path / "config.yaml").read_text() == CONFIG
    record = json.loads((run.path / "run.json").read_text())
    assert record["facts"] == {"seed": 0, "data": {"frames": 3, "sha256": "ab"}, "path": "x"}
    assert {"vasomim", "python", "torch", "numpy"} <= record["versions"].keys()
    (session,) = record["sessions"]
    assert session["outcome"] == "finished"
    assert session["started"] <= session["ended"]
    assert session["command"] == sys.argv


def test_open__clears_the_checkpoint_that_a_killed_process_was_writing(tmp_path):
    """It may have gigabytes, and nothing else ever looks at it."""
    script = (
        "import os, sys, pathlib, torch\nfrom vasomim.engine.checkpoints import save_tensors\n"
        "torch.save = lambda *_: os._exit(9)\nsave_tensors(pathlib.Path(sys.argv[1]), {'step': 8})\n"
    )
    newest = trained(tmp_path) / "checkpoints" / "step_00000008.pt"
    assert subprocess.run([sys.executable, "-c", script, str(newest)], check=False).returncode == 9
    assert len(list(newest.parent.iterdir())) == 2
    with open_run(tmp_path):
        pass
    assert [file.name for file in newest.parent.iterdir()] == ["step_00000004.pt"]


def test_open__goes_on_with_the_same_run(tmp_path):
    trained(tmp_path)
    with pytest.raises(ZeroDivisionError), open_run(tmp_path):
        raise ZeroDivisionError
    sessions = json.loads((tmp_path / "run.json").read_text())["sessions"]
    assert [session["outcome"] for session in sessions] == ["finished", "ZeroDivisionError"]


def test_open__accepts_changes_outside_the_identity(tmp_path):
    with open_run(tmp_path, "lr: 1\nworkers: 2\n", identity="lr: 1") as run:
        run.checkpoints.mkdir()
        (run.checkpoints / "step_00000004.pt").touch()
    with open_run(tmp_path, "lr: 1\nworkers: 8\n", identity="lr: 1"):
        pass
    assert (tmp_path / "config.yaml").read_text() == "lr: 1\nworkers: 8\n"
    with pytest.raises(MisuseError, match=r'there "lr: 1", now "lr: 2"; choose another --out'):
        open_run(tmp_path, "lr: 2\nworkers: 8\n", identity="lr: 2")


USUAL = "optim:\n  lr: 0.3\n  steps: 10\n  ema: none\nseed: 7\nwriting: 0.0\n"
NEWER = "optim:\n  lr: 0.1\n  steps: 400\n  ema: none\nseed: 0\nwriting: 0.0\n"


def test_open__goes_on_with_a_run_from_before_a_setting_was_known(tmp_path):
    trained(tmp_path)
    with open_run(tmp_path, NEWER, usual=USUAL) as run:
        assert run.record["identity"] == NEWER


@pytest.mark.parametrize(
    ("now", "usual"),
    [
        (NEWER.replace("writing: 0.0", "writing: 0.3"), USUAL),
        (NEWER.replace("ema: none", "ema: 0.9"), USUAL),
        (NEWER.replace("lr: 0.1", "lr: 0.3"), USUAL),
        ("optim:\n  lr: 0.1\nseed: 0\n", "optim:\n  lr: 0.3\nseed: 7\n"),  # a setting that is gone
        (NEWER, ""),
        (NEWER, "seed: [\n"),
        (NEWER, "optim: 3\nseed: 7\nwriting: 0.0\n"),
    ],
)
def test_open__takes_settings_that_were_not_known_for_their_defaults_alone(tmp_path, now, usual):
    trained(tmp_path)
    with pytest.raises(MisuseError, match="another run"):
        open_run(tmp_path, now, usual=usual)


def test_open__refuses_another_run_and_names_the_difference(tmp_path):
    trained(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(MisuseError) as caught:
        open_run(tmp_path, CONFIG.replace("0.1", "0.2"))
    assert 'another run: there "lr: 0.1", now "lr: 0.2"; choose another --out, or delete' in str(caught.value)
    with pytest.raises(MisuseError, match="holds a `pretrain` run"):
        open_run(tmp_path, verb="finetune")
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_open__shows_only_the_first_of_many_differences(tmp_path):
    trained(tmp_path)
    with pytest.raises(MisuseError, match="and 8 more lines"):
        open_run(tmp_path, "".join(f"key{n}: 1\n" for n in range(10)))


@pytest.mark.parametrize("name", ["photo.jpg", "run.json", "config.yaml"])
def test_open__refuses_a_folder_that_holds_something_else(tmp_path, name):
    (tmp_path / name).write_text('{"run": "of some other program"}')
    with pytest.raises(MisuseError, match=f"is not empty and holds no run.*{name}"):
        open_run(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == [name]


def test_open__takes_over_a_run_that_never_saved_anything(tmp_path):
    with open_run(tmp_path) as run:
        run.append({"step": 1, "loss": 2.0})
    with open_run(tmp_path, CONFIG.replace("0.1", "0.2")) as run:
        assert run.metrics() == []
    assert len(json.loads((tmp_path / "run.json").read_text())["sessions"]) == 1


def test_open__ignores_hidden_files(tmp_path):
    (tmp_path / ".DS_Store").touch()
    open_run(tmp_path).close()


def test_open__refuses_a_second_writer(tmp_path):
    call = f"RunFolder.open(Path({str(tmp_path)!r}), {CONFIG!r}, 'pretrain', {{}})"
    code = f"from pathlib import Path\nfrom vasomim.engine.run_folder import RunFolder\n{call}"
    with open_run(tmp_path):
        second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"another process is writing {tmp_path}" in second.stderr
    subprocess.run([sys.executable, "-c", code], check=True)


def test_open__on_other_processes_writes_nothing(tmp_path):
    with open_run(tmp_path) as run, open_run(tmp_path, writer=False) as reader:
        assert not reader.writes
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        reader.append({"step": 1})
        reader.truncate_metrics(0)
        reader.note(more=1)
        assert before == {path: path.read_bytes() for path in tmp_path.iterdir()}
        assert run.writes


def test_open__says_when_the_folder_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(VasomimError, match="cannot write"):
        open_run(tmp_path / "file")


def test_note__refuses_other_data_once_something_is_trained(tmp_path):
    with open_run(tmp_path) as run:
        run.note(data={"frames": 3})
        run.note(data={"frames": 4})
        run.checkpoints.mkdir()
        (run.checkpoints / "step_00000004.pt").touch()
    with open_run(tmp_path) as run:
        run.note(data={"frames": 4}, other=1)
        with pytest.raises(MisuseError, match=r'recorded \{"frames": 4\}, now \{"frames": 5\}'):
            run.note(data={"frames": 5})


def test_note__refuses_other_frames_held_out(tmp_path):
    trained(tmp_path)
    with open_run(tmp_path) as run:
        run.note(held_out={"sha256": "a"})
        run.note(held_out={"sha256": "a"})
        with pytest.raises(MisuseError, match="the frames held out are not those that the run in"):
            run.note(held_out={"sha256": "b"})


def test_note__says_where_nobody_knows_what_was_held_out(tmp_path, caplog):
    with open_run(tmp_path) as run:
        run.note(data={"frames": 3}, held_out={"frames": 1})
    assert not caplog.messages
    with open_run(trained(tmp_path / "old")) as run:
        run.note(data={"frames": 3}, held_out={"frames": 1})
    assert "does not say which frames it held out" in caplog.text


def test_metrics__are_json_and_truncated(tmp_path):
    with open_run(tmp_path) as run:
        for step in (10, 20, 20, 30):
            run.append({"step": step, "loss": 1 / step, "nan": math.nan, "inf": -math.inf})
        with (tmp_path / "metrics.jsonl").open("a") as file:
            file.write('{"step": 40, "lo')
        assert [line["step"] for line in run.metrics()] == [10, 20, 20, 30]
        run.truncate_metrics(20)
        run.append({"step": 25})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 20, 20, 25]
    assert lines[0] == {"step": 10, "loss": 0.1, "nan": None, "inf": None}


def test_append__says_when_the_disk_is_full(tmp_path, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, os.strerror(28))

    with open_run(tmp_path) as run:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", full)
            with pytest.raises(VasomimError, match=r"metrics\.jsonl: No space left on device"):
                run.append({"step": 1})
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(VasomimError, match=r"run\.json: No space left on device"):
                run.note(more=1)
    assert json.loads((tmp_path / "run.json").read_text())["sessions"][0]["outcome"] == "finished"


def test_close__on_a_full_disk_does_not_hide_why_the_run_ended(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    def end(error: type[Exception] | None) -> None:
        with open_run(tmp_path):
            disk.setattr(os, "fsync", full)
            if error is not None:
                raise error

    with monkeypatch.context() as disk, pytest.raises(ZeroDivisionError):
        end(ZeroDivisionError)
    with monkeypatch.context() as disk, pytest.raises(VasomimError, match="No space left"):
        end(None)


def test_git_commit__is_none_outside_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder, "__file__", str(tmp_path / "run_folder.py"))
    assert run_folder.git_commit() is None
