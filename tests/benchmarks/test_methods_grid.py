"""The grid as data: what each cell runs, and that nothing but its method differs."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from vasomim.benchmarks.methods.catalogue import ABLATIONS, MAIN
from vasomim.benchmarks.methods.grid import METHODS, Cell, cells, chosen_methods
from vasomim.benchmarks.methods.plan import Job, plan_of
from vasomim.benchmarks.methods.rows import budget_of, check_asked, check_comparable, read_rows
from vasomim.benchmarks.methods.table import Shown, of_rows, shown, summary_table
from vasomim.cli.flags import parse
from vasomim.cli.verbs import VERBS, find_verb
from vasomim.config import (
    BenchmarkMethodsConfig,
    FinetuneConfig,
    PretrainConfig,
    SegmentorConfig,
    idle_settings,
    load_config,
)
from vasomim.config.benchmarks import BudgetConfig
from vasomim.config.methods import Method
from vasomim.errors import DataError, MisuseError

ROWS = Path(__file__).parents[2] / "results" / "main_table"
CONFIG = BenchmarkMethodsConfig(inputs=(Path("data"),), out=Path("out"))


def jobs(method: str, config: BenchmarkMethodsConfig = CONFIG) -> list[Job]:
    return list(plan_of(Cell(method, "0.1", 1), config).evaluate.all())


@cache
def settings(job: Job) -> object:
    """What the command line makes of a job; many methods share jobs, and parsing takes a while."""
    name, rest = find_verb([*job.arguments, *job.computing])
    config = VERBS[name].config
    invocation = parse(config, rest, "vasomim")
    return load_config(config, invocation.recipe, invocation.overrides)


def pretraining(method: str) -> PretrainConfig:
    start = plan_of(Cell(method, "0.1", 1), CONFIG).start
    assert start is not None
    config = settings(start)
    assert isinstance(config, PretrainConfig)
    return config


def test_cells__first_those_that_make_the_table_whole_soonest() -> None:
    grid = cells(["mae", "main"], [0.1, 1], [0, 1])
    assert len(grid) == len(set(grid)) == 4 * len(MAIN)
    assert [cell.name for cell in grid[:2]] == ["mae_0.1_0", "scratch_0.1_0"]
    assert [cell.seed for cell in grid] == sorted(cell.seed for cell in grid)


def test_cells__an_encoder_made_elsewhere_is_a_method(tmp_path: Path) -> None:
    own = f"mine={tmp_path}"
    assert [cell.name for cell in cells([], [0.1], [0], [own])] == ["mine_0.1_0"]
    config = replace(CONFIG, own=(own,))
    start, finetune = plan_of(Cell("mine", "0.1", 0), config).start, jobs("mine", config)[0]
    assert start is None
    assert finetune.arguments[finetune.arguments.index("--init") + 1] == str(tmp_path)
    for wrong, problem in ((f"mae={tmp_path}", "is taken"), ("mine=nowhere", "no such file or folder")):
        with pytest.raises(MisuseError, match=problem):
            cells([], [], [], [wrong])


def test_of_rows__a_table_of_all_that_has_a_row_unless_it_is_asked_for_less(tmp_path: Path) -> None:
    copy_row(tmp_path, method="mine", labels="0.5", elsewhere={"sha256": "0"})
    copy_row(tmp_path, method="guidance_alone")
    copy_row(tmp_path, method="mae")
    rows = read_rows(tmp_path)
    assert of_rows(rows, (), ()) == Shown(["mae", "guidance_alone", "mine"], ("mae", "scratch"), ["0.1", "0.5"])
    assert of_rows(rows, ["mae"], [1]) == Shown(["mae"], ("mae", "scratch"), ["1.0"])


def test_chosen_methods__unknown_names_get_the_nearest() -> None:
    with pytest.raises(MisuseError, match="did you mean simmim"):
        chosen_methods(["simim"])
    assert set(chosen_methods(["ablations"])) >= {"mae", "vasomim", *ABLATIONS}


@pytest.mark.parametrize("method", METHODS)
def test_plan__every_command_is_valid_spends_the_budget_and_has_an_effect(method: str) -> None:
    budget = CONFIG.budget
    for job in jobs(method):
        if job.module != "vasomim":
            continue
        config = settings(job)
        if isinstance(config, PretrainConfig | FinetuneConfig | SegmentorConfig):
            assert idle_settings(config) == []
            kind = job.name.partition("_")[0]
            third = (kind, method) == ("pretrain", "pseudo_labels_third")
            assert config.optim.steps == getattr(budget, f"{kind}_steps") // (3 if third else 1)
            assert config.optim.batch_size == getattr(budget, f"{kind}_batch", 16)
            assert config.img_size == budget.size
        if isinstance(config, FinetuneConfig) and job.name.startswith("finetune"):
            assert (config.labels, config.run.seed, config.holdout) == ("0.1", 1, 0)


@pytest.mark.parametrize("encoder", ["vit_tiny_patch16", "vit_small_patch16"])
def test_plan__jobs_of_one_name_are_one_job_and_come_after_what_they_need(encoder: str) -> None:
    config = replace(CONFIG, budget=replace(CONFIG.budget, encoder=encoder))
    known: dict[str, Job] = {}
    for method in METHODS:
        seen: set[str] = set()
        for job in jobs(method, config):
            assert known.setdefault(job.name, job) == job
            assert {need.name for need in job.needs} <= seen
            seen.add(job.name)


def test_plan__methods_of_the_package_are_all_there() -> None:
    recipes = {method.start.recipe for method in MAIN.values() if method.start is not None}
    asked = {
        load_config(PretrainConfig, Path(r)).method for r in recipes if r not in ("pseudo_laptop", "synthetic_laptop")
    }
    assert asked == set(get_args(Method))


def test_plan__four_cells_differ_in_guidance_and_consistency_alone() -> None:
    both, neither = pretraining("vasomim"), pretraining("mae")
    guidance, consistency = pretraining("guidance_alone"), pretraining("consistency_alone")
    assert [one.masking.guidance for one in (both, guidance, consistency, neither)] == ["co", "co", "none", "none"]
    assert [one.consistency_weight for one in (both, guidance, consistency, neither)] == [1, 0, 1, 0]
    for one in (guidance, consistency, neither):
        parts = {"masking": both.masking, "consistency_weight": 1.0, "segmentor": both.segmentor, "out": both.out}
        assert replace(one, **parts) == both  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ABLATIONS)
def test_plan__an_ablation_differs_from_vasomim_in_one_setting(name: str) -> None:
    ours, full = asdict(pretraining(name)), asdict(pretraining("vasomim"))
    for one in (ours, full):
        one |= {f"masking.{key}": value for key, value in one.pop("masking").items()}
        one |= {f"crop.{key}": value for key, value in one.pop("crop").items()}
        del one["out"]
    differs = {key for key in full if ours[key] != full[key]}
    prepared = {"reference_extraction": {"vessels", "segmentor"}, "mixed_frames": {"inputs", "vessels"}}
    expected = prepared.get(name)
    assert differs == expected if expected else len(differs) == 1


def test_read_rows__rows_of_the_first_script_are_valid() -> None:
    rows = read_rows(ROWS)
    assert Cell("scratch", "0.1", 0) in rows
    check_asked(rows, CONFIG)
    check_comparable(rows)
    assert all(len(row.ids) == 200 for row in rows.values())
    table = summary_table(rows, shown(["scratch", "dino"], [0.1]))
    assert "| DINO | not run |" in table
    assert "| from scratch | 0.732 [" in table


def copy_row(folder: Path, **changes: object) -> Path:
    source = ROWS / "scratch_0.1_0.json"
    content = {**json.loads(source.read_text()), **changes}
    name = f"{content['method']}_{content['labels']}_{content['seed']}"
    (folder / f"{name}.csv").write_text(source.with_suffix(".csv").read_text())
    (folder / f"{name}.json").write_text(json.dumps(content))
    return folder / f"{name}.json"


def test_check_asked__another_budget_or_other_data_are_refused_before_anything_runs(tmp_path: Path) -> None:
    """Whatever cell is asked for next: it could not stand beside the row that is there."""
    copy_row(tmp_path, data={"train": "arcade/syntax/train", "val": "arcade/syntax/val"})
    rows = read_rows(tmp_path)
    with pytest.raises(MisuseError, match=r"finetune_steps 400, asked 200.*another --out and --runs"):
        check_asked(rows, replace(CONFIG, budget=BudgetConfig(finetune_steps=200)))
    with pytest.raises(MisuseError, match=r"train arcade/syntax/train, asked other"):
        check_asked(rows, replace(CONFIG, train="other"))
    # What scratch does not spend is no part of its identity.
    check_asked(rows, replace(CONFIG, budget=BudgetConfig(pretrain_steps=7), unlabelled=("other",)))
    assert "pretrain_steps" in budget_of(METHODS["mae"], BudgetConfig())


def test_check_comparable__other_training_data_or_encoders_do_not_mix(tmp_path: Path) -> None:
    run = json.loads((ROWS / "scratch_0.1_0.json").read_text())["run"]
    copy_row(tmp_path)
    copy_row(tmp_path, method="mae", run={**run, "data": {"frames": 100, "sha256": "other"}})
    with pytest.raises(DataError, match="was fine-tuned on other labelled frames than"):
        check_comparable(read_rows(tmp_path))
    copy_row(tmp_path, method="mae", data={"train": "a"})
    copy_row(tmp_path, method="simmim", data={"train": "b"})
    with pytest.raises(DataError, match=r"simmim_0\.1_0 has train b, mae_0\.1_0 a"):
        check_comparable(read_rows(tmp_path))
    for path in (*tmp_path.glob("mae*"), *tmp_path.glob("simmim*")):
        path.unlink()
    for seed in (0, 1):
        copy_row(tmp_path, method="mine", seed=seed, elsewhere={"sha256": str(seed)})
    with pytest.raises(DataError, match=r"mine_0\.1_1 starts from another"):
        check_comparable(read_rows(tmp_path))


def test_read_rows__a_shorter_run_never_fills_a_cell(tmp_path: Path) -> None:
    path = copy_row(tmp_path)
    content = json.loads(path.read_text())
    content["run"]["last"]["step"] = 200
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="says 400 steps, but its run ended after 200"):
        read_rows(tmp_path)


def test_check_comparable__budgets_and_labels_do_not_mix_in_a_table(tmp_path: Path) -> None:
    budget = budget_of(METHODS["mae"], BudgetConfig())
    copy_row(tmp_path, method="mae", budget=dict(budget))
    copy_row(tmp_path, method="simmim", budget={**budget, "pretrain_steps": 5})
    with pytest.raises(DataError, match="pretrain_steps 5"):
        check_comparable(read_rows(tmp_path))
    other = json.loads((ROWS / "scratch_0.1_0.json").read_text())["evaluation"]
    other["protocol"]["data"]["fingerprint"] = "other"
    copy_row(tmp_path, method="simmim", budget=dict(budget), evaluation=other)
    with pytest.raises(DataError, match="other frames or labels"):
        check_comparable(read_rows(tmp_path))


@pytest.mark.parametrize("damage", ["{", json.dumps({"method": "mae", "labels": "1.0", "seed": 0, "evaluation": {}})])
def test_read_rows__damaged_files_are_named(damage: str, tmp_path: Path) -> None:
    (tmp_path / "mae_1.0_0.json").write_text(damage)
    with pytest.raises(DataError, match=r"mae_1\.0_0\.json"):
        read_rows(tmp_path)
