"""`vasomim benchmark speed` does the same on both sides, in turns, and counts what it says."""

from __future__ import annotations

import gc
import json
import os
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from vasomim.benchmarks.speed.limits import Limits, Work, measure_limits
from vasomim.benchmarks.speed.networks import fastest
from vasomim.benchmarks.speed.run import measure_speed
from vasomim.benchmarks.speed.stages import STAGES
from vasomim.benchmarks.speed.timing import Stage, clock_for, computing_in, make_row, take_turns
from vasomim.benchmarks.speed.work import bytes_kept, count_flops, hessian_flops
from vasomim.cli.app import main
from vasomim.config.benchmarks import STAGES as KNOWN
from vasomim.inference.torch_backend import TorchBackend
from vasomim.models.registry import create_model


def made(name: str, folder: Path) -> Stage:
    return STAGES[name](folder, quick=True)


def test_stages__are_those_that_can_be_asked_for() -> None:
    assert tuple(STAGES) == KNOWN
    assert {"extract", "extract_reference", "vesselness", "mask", "data", "step", "infer"} <= set(STAGES)


def test_take_turns__alternates_and_takes_medians() -> None:
    calls: list[str] = []
    ticks = iter([0, 1, 10, 30, 100, 103, 200, 210, 300, 302, 400, 440])
    stage = Stage(
        ours=lambda: calls.append("ours"),
        reference=lambda: calls.append("reference"),
        work=Work(),
        rounds=3,
        warm_up=2,
    )
    assert take_turns(stage, lambda: float(next(ticks))) == (2, 20)
    assert calls == ["ours", "ours", "reference"] + 3 * ["ours", "reference"]


def test_make_row__is_a_unit_a_ratio_and_a_share() -> None:
    stage = Stage(ours=int, reference=int, work=Work(flops=6e9, moved=1e9), units=4)
    row = make_row("step", stage, (2.0, 5.0), Limits(flops_per_s=6e9, bytes_per_s=2e9))
    assert (row.ours_s, row.reference_s, row.ratio, row.limit_share) == (0.5, 1.25, 2.5, 0.5)
    assert row.limit == "matrix product rate"


def test_limits__of_work_are_the_slower_of_both() -> None:
    limits = Limits(flops_per_s=10, bytes_per_s=100)
    assert limits.seconds(Work(flops=20, moved=100)) == 2
    assert limits.seconds(Work(flops=5, moved=100)) == 1
    assert limits.binding(Work(flops=5, moved=100)) == "copy bandwidth"
    assert limits.best(Limits(20, 50)) == Limits(20, 100)


def test_measure_limits__are_rates_of_a_processor() -> None:
    with computing_in(1):
        limits = measure_limits(clock_for(1), size=128, megabytes=4, tries=2)
    assert 1e8 < limits.flops_per_s < 1e13
    assert 1e8 < limits.bytes_per_s < 1e13


@pytest.mark.parametrize("before", [None, "7"])
def test_computing_in__leaves_the_threads_as_they_were(before: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if before is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", before)
    threads = torch.get_num_threads()
    with computing_in(threads + 1):
        assert (torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]) == (threads + 1, str(threads + 1))
    assert (torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")) == (threads, before)


def test_bytes_kept__are_those_that_the_backward_pass_needs() -> None:
    layer, x = torch.nn.Linear(8, 4), torch.rand(3, 8)
    assert bytes_kept(layer, lambda: layer(x)) == x.nbytes  # for the gradient of the weights, which are not counted
    assert bytes_kept(layer, lambda: layer(x).sigmoid()) == x.nbytes + 3 * 4 * 4


def test_count_flops__of_a_layer() -> None:
    layer, x = torch.nn.Linear(8, 4, bias=False), torch.zeros(3, 8, device="meta")
    assert count_flops(layer, lambda module: module(x)) == 2 * 3 * 8 * 4
    assert count_flops(layer, lambda module: module(x).sum(), backward=True) == 2 * (2 * 3 * 8 * 4)


def test_count_flops__leaves_the_module_alone() -> None:
    model = create_model("vit_test", img_size=32)
    count_flops(model, lambda module: module(torch.zeros(1, 1, 32, 32, device="meta")))
    assert {weight.device.type for weight in model.parameters()} == {"cpu"}


def test_hessian_flops__are_six_passes_of_the_kernel() -> None:
    assert hessian_flops(10, 1.0) == 6 * 13 * 2 * 10


def test_extract_reference__gives_one_mask_twice(tmp_path: Path) -> None:
    stage = made("extract_reference", tmp_path)
    for _ in range(4):
        np.testing.assert_array_equal(stage.ours(), stage.reference())


def test_vesselness__gives_one_map_twice_away_from_the_border(tmp_path: Path) -> None:
    stage = made("vesselness", tmp_path)
    inner = (slice(30, -30), slice(30, -30))
    np.testing.assert_allclose(stage.ours()[inner], stage.reference()[inner], atol=1e-3)


def test_mask__hides_as_much_on_both_sides(tmp_path: Path) -> None:
    stage = made("mask", tmp_path)
    assert torch.equal(stage.ours().sum(1), stage.reference().sum(1))


def test_data__gives_crops_of_one_size(tmp_path: Path) -> None:
    stage = made("data", tmp_path)
    ours, (frame, vesselness) = stage.ours(), stage.reference()
    assert ours["image"].shape == frame.shape == (4, 1, 224, 224)
    assert ours["vessels"].shape == vesselness[:, 0].shape


@pytest.mark.parametrize("name", ["step", "step_bf16"])
def test_step__learns_on_both_sides(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = made(name, tmp_path)
    step, moved = torch.optim.AdamW.step, []

    def noted(optimizer: torch.optim.AdamW, *arguments: object) -> object:
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        before = [weight.detach().clone() for weight in weights]
        done = step(optimizer, *arguments)
        moved.append(np.mean([not torch.equal(*pair) for pair in zip(before, weights, strict=True)]))
        return done

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    stage.ours()
    assert len(moved) == 1
    assert stage.reference()["loss"] > 0
    assert len(moved) == 2
    assert min(moved) > 0.9, "the share of the tensors that a step changes"


def test_infer__gives_one_probability_twice(tmp_path: Path) -> None:
    stage = made("infer", tmp_path)
    ours = stage.ours()[0]
    assert ours.std() > 1e-3, "else no comparison could fail"
    np.testing.assert_allclose(ours, stage.reference(), atol=1e-4)


@pytest.mark.slow
def test_fastest__is_openvino_and_agrees_with_torch(tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="needs vasomim[export]")
    network = TorchBackend(create_model("vit_test_unet", img_size=64).eval(), "cpu", "fp32")
    frames = [np.random.default_rng(seed).random((1, 1, 64, 64), np.float32) for seed in range(3)]
    backend, how = fastest(network, "vit_test_unet", frames, tmp_path)
    assert how.startswith("OpenVINO in ")
    difference = np.abs(backend.probabilities(frames[0]) - network.probabilities(frames[0]))
    assert difference.mean() < 0.05


def test_measure_speed__has_a_row_a_stage() -> None:
    threads = torch.get_num_threads()
    result = measure_speed(["vesselness", "mask"], quick=True)
    assert [row["name"] for row in result["rows"]] == ["vesselness", "mask"]
    for row in result["rows"]:
        assert row["ratio"] == pytest.approx(row["reference_s"] / row["ours_s"])
        assert 0 < row["limit_share"] < 2
    assert result["hardware"]["cores"]
    assert torch.get_num_threads() == threads


def test_measure_speed__lets_go_of_a_stage_before_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    class Network:
        pass

    held: list[weakref.ref[Network]] = []

    def large(folder: Path, *, quick: bool) -> Stage:  # noqa: ARG001
        network = Network()
        held.append(weakref.ref(network))
        return Stage(ours=lambda: (network, sum(range(9999))), reference=lambda: network, work=Work(), rounds=1)

    def following(folder: Path, *, quick: bool) -> Stage:  # noqa: ARG001
        gc.collect()
        assert held[0]() is None
        return Stage(ours=lambda: sum(range(9999)), reference=int, work=Work(), rounds=1)

    monkeypatch.setitem(STAGES, "mask", large)
    monkeypatch.setitem(STAGES, "data", following)
    assert len(measure_speed(["mask", "data"], quick=True)["rows"]) == 2


def test_command__prints_json_alone_and_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "speed", "--quick", "--stages", "mask", "--json", "--out", str(tmp_path / "out")]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == json.loads((tmp_path / "out" / "speed.json").read_text())
    assert {"name", "ours_s", "reference_s", "ratio", "limit_share"} <= set(shown["rows"][0])


def test_command__prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "speed", "--quick", "--stages", "mask"]) == 0
    assert "times faster" in capsys.readouterr().out


def test_command__refuses_an_unknown_stage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "speed", "--stages", "msak"]) == 2
    assert "stages must be among extract, " in capsys.readouterr().err
