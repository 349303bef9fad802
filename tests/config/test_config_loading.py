"""Defaults, recipes and overrides come in through one door, and every mistake is named."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vasomim.cli.verbs import VERBS
from vasomim.config import (
    EvaluateConfig,
    ExtractConfig,
    FinetuneConfig,
    PretrainConfig,
    SegmentorConfig,
    dump_config,
    load_config,
)
from vasomim.config.docs import field_docs
from vasomim.config.loading import field_paths, input_paths
from vasomim.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Inner:
    EXCLUSIVE: ClassVar[tuple[tuple[str, ...], ...]] = (("number", "share"),)

    number: int | None = 3
    share: float | None = None
    kind: Literal["none", "some", 8] = "none"


@dataclass(frozen=True, kw_only=True)
class Everything:
    flag: bool = False
    whole: int = 1
    real: float = 0.5
    text: str = "a"
    word: str | None = None
    place: Path = Path("out")
    source: Path | None = None
    places: tuple[Path, ...] = ()
    pair: tuple[float, float] = (0.0, 1.0)
    numbers: tuple[int, ...] = (1, 2)
    inner: Inner = field(default_factory=Inner)


_reals = st.floats(allow_nan=False, allow_infinity=False)
_paths = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1).map(Path)
_inners = st.builds(
    Inner,
    number=st.none() | st.integers(),
    share=st.none() | _reals,
    kind=st.sampled_from(["none", "some", 8]),
)
_everything = st.builds(
    Everything,
    flag=st.booleans(),
    whole=st.integers(),
    real=_reals,
    text=st.text(),
    word=st.none() | st.text(),
    place=_paths,
    source=st.none() | _paths,
    places=st.lists(_paths).map(tuple),
    pair=st.tuples(_reals, _reals),
    numbers=st.lists(st.integers()).map(tuple),
    inner=_inners,
)


def recipe(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def mistakes(problem: pytest.ExceptionInfo[ConfigError]) -> list[str]:
    return [line.strip() for line in str(problem.value).splitlines()]


@given(_everything)
def test_dump_config__loads_back_equal(config: Everything) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dumped.yaml"
        path.write_text(dump_config(config), encoding="utf-8", newline="")
        assert load_config(Everything, path) == config


@pytest.mark.parametrize("mark", ["\x85", "\u2028", "\u2029", "\n", "\t", "é", "心"])
def test_dump_config__keeps_line_breaks_of_other_alphabets(mark: str, tmp_path: Path) -> None:
    config = ExtractConfig(inputs=(Path(f"a{mark}b"),), out=Path(mark))
    assert load_config(ExtractConfig, recipe(tmp_path, dump_config(config))) == config


@pytest.mark.parametrize("verb", VERBS)
def test_dump_config__round_trip_of_every_verb(verb: str, tmp_path: Path) -> None:
    default = VERBS[verb].config()
    assert load_config(VERBS[verb].config, recipe(tmp_path, dump_config(default))) == default


def test_load_config__recipe_then_overrides_win(tmp_path: Path) -> None:
    path = recipe(tmp_path, "whole: 5\nreal: 0.25\ninner: {kind: some}\n")
    config = load_config(Everything, path, {"whole": "7", "inner.number": "9"})
    assert config == Everything(whole=7, real=0.25, inner=Inner(kind="some", number=9))


def test_load_config__nested_and_dotted_overrides_join() -> None:
    config = load_config(Everything, None, {"inner.number": 4, "inner": {"kind": "some"}})
    assert config.inner == Inner(number=4, kind="some")


def test_load_config__empty_recipe_is_the_default(tmp_path: Path) -> None:
    assert load_config(Everything, recipe(tmp_path, "# nothing but a comment\n")) == Everything()
    assert load_config(Everything, recipe(tmp_path, "inner:\n")) == Everything()


def test_load_config__numbers_that_yaml_reads_as_text(tmp_path: Path) -> None:
    config = load_config(Everything, recipe(tmp_path, "real: 1e-4\nwhole: 1e3\nnumbers: [1e1, 2.0]\n"))
    assert (config.real, config.whole, config.numbers) == (1e-4, 1000, (10, 2))
    assert isinstance(config.whole, int)


def test_load_config__no_is_not_false(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"text: got false, need text \(YAML reads unquoted yes, no"):
        load_config(Everything, recipe(tmp_path, "text: no\n"))


def test_load_config__number_where_text_is_needed(tmp_path: Path) -> None:
    assert load_config(FinetuneConfig, recipe(tmp_path, "labels: 0.1\n")).labels == "0.1"
    assert load_config(FinetuneConfig, recipe(tmp_path, "labels: 50\n")).labels == "50"


def test_load_config__one_path_where_several_may_stand(tmp_path: Path) -> None:
    assert load_config(Everything, recipe(tmp_path, "places: frames\n")).places == (Path("frames"),)


def test_load_config__home_folder_is_expanded() -> None:
    assert load_config(Everything, None, {"place": "~/runs"}).place == Path.home() / "runs"


def test_load_config__all_mistakes_at_once(tmp_path: Path) -> None:
    path = recipe(
        tmp_path,
        "optim: {step: 5, lr: fast}\ncrop: {ratio: [3, 2], horizontal_flip: 7}\nmasking: {guidance: anatomi}\n"
        "consistency_weight: -1\n",
    )
    with pytest.raises(ConfigError) as problem:
        load_config(PretrainConfig, path, {"masking.mask_ratio": "2", "norm_pix_loss": "perhaps"})
    assert mistakes(problem) == [
        f"8 mistakes in {path} and the flags:",
        "optim.step: unknown setting; did you mean optim.steps?",
        "optim.lr: got 'fast', need a number",
        "masking.guidance: got 'anatomi', need one of none, anatomy, co; did you mean anatomy?",
        "norm_pix_loss: got 'perhaps', need true or false",
        "crop: ratio must satisfy 0 < low <= high, got (3.0, 2.0)",
        "crop: horizontal_flip must lie in [0, 1], got 7.0",
        "masking: mask_ratio must lie strictly between 0 and 1, got 2.0",
        "consistency_weight must be at least 0, got -1.0",
    ]


def test_load_config__one_mistake_is_one_line() -> None:
    with pytest.raises(ConfigError) as problem:
        load_config(Everything, None, {"whole": "1.5"})
    assert mistakes(problem) == ["mistake in the settings: whole: got '1.5', need a whole number"]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("steps", "optim.steps"),
        ("mask_ratio", "masking.mask_ratio"),
        ("optm", "optim"),
        ("masking.mask_ration", "masking.mask_ratio"),
        ("masking.batch_size", "optim.batch_size"),
    ],
)
def test_load_config__unknown_name_gets_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: unknown setting; did you mean {nearest}\\?"):
        load_config(PretrainConfig, None, {name: 1})


def test_load_config__unknown_name_near_to_nothing_lists_what_is_known() -> None:
    with pytest.raises(ConfigError, match="zzz: unknown setting; known here: flag, whole, real"):
        load_config(Everything, None, {"zzz": 1})


def test_load_config__value_where_a_section_stands(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="inner: got 3, need a section with any of number, share, kind"):
        load_config(Everything, recipe(tmp_path, "inner: 3\n"))


def test_load_config__unknown_model_gets_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"got vit_tiny_patch16; did you mean mae_vit_tiny_patch16\?"):
        load_config(PretrainConfig, None, {"model": "vit_tiny_patch16"})


@pytest.mark.parametrize(
    ("layers", "steps", "epochs"),
    [
        (("optim: {steps: 9}\n", {}), 9, None),
        (("optim: {epochs: 4}\n", {}), None, 4),
        (("optim: {epochs: 4}\n", {"optim.steps": "9"}), 9, None),
        (("optim: {steps: 9}\n", {"optim": {"epochs": "4"}}), None, 4),
        (("optim: {epochs: 4, steps: null}\n", {}), None, 4),
    ],
)
def test_load_config__exclusive_settings_reset_each_other(
    layers: tuple[str, dict[str, object]], steps: int | None, epochs: int | None, tmp_path: Path
) -> None:
    for cls in (PretrainConfig, SegmentorConfig):
        optim = load_config(cls, recipe(tmp_path, layers[0]), layers[1]).optim
        assert (optim.steps, optim.epochs) == (steps, epochs)


def test_load_config__both_exclusive_settings_in_one_place_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="optim: give exactly one of steps and epochs"):
        load_config(PretrainConfig, None, {"optim.steps": 3, "optim.epochs": 3})


def test_load_config__base_lr_resets_lr_but_not_the_other_way_round() -> None:
    assert load_config(PretrainConfig, None, {"optim.base_lr": 1e-3}).optim.lr is None
    assert load_config(PretrainConfig, None, {"optim.lr": 1e-3}).optim.base_lr == PretrainConfig().optim.base_lr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("whole: 1\noptim: [1, 2", r"is not valid YAML: line 2, column 13: expected ',' or '\]'"),
        ("just words\n", "holds str, need lines of the form"),
        ("whole: 1\nwhole: 2\n", "line 2, column 1: whole is given twice"),
        (
            "inner: !!python/object:os.system {}\n",
            "is not valid YAML: line 1, column 8: could not determine a constructor",
        ),
    ],
)
def test_load_config__broken_file(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(Everything, recipe(tmp_path, text))


def test_load_config__binary_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.yaml"
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ConfigError, match="not a text file"):
        load_config(Everything, path)


def test_load_config__folder_instead_of_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is a folder, need a YAML file such as .*config\.yaml"):
        load_config(Everything, tmp_path)


def test_load_config__missing_file_names_the_nearest_recipe() -> None:
    with pytest.raises(ConfigError, match=r"no file or recipe pretrain_lap; did you mean pretrain_laptop\?"):
        load_config(PretrainConfig, Path("pretrain_lap"))


def test_load_config__file_wins_over_a_recipe_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pretrain_laptop").write_text("img_size: 64\n")
    monkeypatch.chdir(tmp_path)
    assert load_config(PretrainConfig, Path("pretrain_laptop")).img_size == 64


def test_field_paths__lists_leaves_only() -> None:
    paths = field_paths(PretrainConfig)
    assert {"out", "optim.steps", "masking.eta"} <= set(paths)
    assert not {"optim", "masking", "optim.EXCLUSIVE"} & set(paths)


def test_input_paths__all_paths_but_out() -> None:
    config = replace(EvaluateConfig(), inputs=(Path("a"), Path("b")), out=Path("o"), predictions=Path("p"))
    assert input_paths(config) == [("inputs", Path("a")), ("inputs", Path("b")), ("predictions", Path("p"))]


@pytest.mark.parametrize("verb", VERBS)
def test_field_docs__every_setting_has_help(verb: str) -> None:
    pending = [VERBS[verb].config]
    while pending:
        cls = pending.pop()
        sections = {f.name: getattr(cls(), f.name) for f in fields(cls)} if cls is VERBS[verb].config else {}
        nested = {name for name, value in sections.items() if hasattr(value, "__dataclass_fields__")}
        pending += [type(sections[name]) for name in nested]
        names = set(cls.__dataclass_fields__) - nested - {"EXCLUSIVE"}
        assert names <= set(field_docs(cls))


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB + "inputs: *a11", "an alias"),  # would be printed as 9^12 values
        ("optim: &o {lr: *o}", "an alias"),
        ("inputs: " + "[" * 5000, "nested too deeply"),
        ("img_size: " + "9" * 10_000, "is not valid YAML"),
        ("out: 2020-99-99", "is not valid YAML: month must be in"),
        ("# " + "x" * (1 << 18), "is larger than 256 KiB"),
        ("model: !!python/object/apply:os.system [exit]", "could not determine a constructor"),
    ],
)
def test_load_config__made_to_do_harm(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(PretrainConfig, tmp_path / "recipe.yaml")
    assert "\n" not in str(caught.value)
