"""Every benchmark at its smallest size: it runs, its result matches the schema, its tables are complete."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import figure5, memory, quality, table1, table2, table4
from benchmarks.data import footage, paper
from benchmarks.data.lut_truth import LutTruthError
from benchmarks.data.pairs import PairsError, look_pairs
from benchmarks.harness.registry import BenchModule, Budget, Table
from benchmarks.harness.result import Result, Spread, find, median_of, read, write
from benchmarks.harness.timing import Timings
from benchmarks.runs import whole_runs
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from tests.benchmarks.harness.test_harness import ABOUT

SMALL = "192x96"
QUICK = Budget(quick=True, threads=2)


def stored(result: Result, folder: Path) -> dict[str, Any]:
    path = folder / f"{result.bench}.json"
    write(result.document(ABOUT), path)
    return read(path)


def checked_tables(module: Any, document: dict[str, Any]) -> list[Table]:
    bench: BenchModule = module
    tables = bench.tables(document)
    assert tables
    for table in tables:
        assert table.rows
        assert all(len(row) == len(table.header) for row in table.rows)
    return tables


def test_table1(tmp_path: Path) -> None:
    peer = f'lazy={sys.executable} -c \'import shutil; shutil.copy("{{content}}", "{{out}}")\' {{style}}'
    peers = [peer, "none=/nonexistent {content} {style} {out}"]
    document = stored(table1.run(QUICK, print, peers=peers, resolutions=[SMALL]), tmp_path)
    ours = find(document, model="mvstylizer", device="cpu", resolution=SMALL, reply="image")
    assert ours
    assert median_of(ours["seconds"]) > 0
    # With two rounds, the ratio of means is between the ratios of the rounds.
    whole = median_of(ours["seconds"]) / median_of(ours["floor_seconds"])
    assert ours["of_floor"]["min"] <= whole <= ours["of_floor"]["max"]
    lazy, none = find(document, model="lazy"), find(document, model="none")
    assert lazy
    assert median_of(lazy["process_seconds"]) > 0
    assert none == {"seconds": None}
    assert any("none" in note for note in document["notes"])
    cells = [row[-1] for row in checked_tables(table1, document)[0].rows]
    assert "failed" in cells


def test_the_lower_bound_is_computed_per_round() -> None:
    times = Timings({"net": [2.0, 8.0], table1.FLOOR: [1.0, 2.0]})
    figures = table1._floor(times, "net", table1.FLOOR_GMACS / 2)
    assert figures["floor_seconds"] == Spread(0.75, 0.5, 1.0, 2)
    assert figures["of_floor"] == Spread(6.0, 4.0, 8.0, 2)


def test_macs_of_convolutions_are_counted(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    from benchmarks.metrics.macs import count_macs

    rng = np.random.default_rng(0)
    weights = {"a": (8, 3, 3, 3), "b": (8, 4, 2, 2)}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "a"], ["y"], pads=[1, 1, 1, 1]),
            helper.make_node("ConvTranspose", ["y", "b"], ["z"], strides=[2, 2]),
        ],
        "two layers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 10, 12))],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
        [
            helper.make_tensor(name, TensorProto.FLOAT, shape, rng.random(shape, np.float32).ravel())
            for name, shape in weights.items()
        ],
    )
    path = tmp_path / "model.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), str(path))
    counted = count_macs(path, {"x": np.zeros((1, 3, 10, 12), np.float32)}, ["z"])
    assert counted == 8 * 10 * 12 * 3 * 9 + 8 * 10 * 12 * 4 * 4


@pytest.mark.slow
def test_table2(tmp_path: Path) -> None:
    document = stored(table2.run(QUICK, print, resolutions=[SMALL], frames=16), tmp_path)
    warp, transfer = (find(document, resolution=SMALL, way=way) for way in ("warp", "transfer"))
    assert warp
    assert transfer
    assert transfer["of_warp"]["min"] <= transfer["seconds"]["max"] / warp["seconds"]["min"]
    assert transfer["of_warp"]["max"] >= transfer["seconds"]["min"] / warp["seconds"]["max"]
    whole = find(document, resolution=SMALL, way="transfer, everything")
    assert whole
    assert all(median_of(whole[stage]) > 0 for stage in table2.STAGES)
    assert len(checked_tables(table2, document)) == 3


@pytest.mark.slow
def test_figure5(tmp_path: Path) -> None:
    document = stored(figure5.run(QUICK, print, resolutions=[SMALL], frames=16), tmp_path)
    assert [row["case"]["interval"] for row in document["results"]] == [30, 30]
    for row in document["results"]:
        figures = row["figures"]
        assert 1 < median_of(figures["as_the_paper_counts"]) < row["case"]["interval"]
        assert median_of(figures["everything_counted"]) > 0
    checked_tables(figure5, document)
    assert [sorted(plot.curves) for plot in figure5.plots(document)] == [[SMALL]] * 4


def test_rounds_are_between_runs_that_stylize_every_frame() -> None:
    calls: list[str] = []

    def every_frame() -> float:
        calls.append("every")
        return 10.0 + calls.count("every")

    def at_interval(interpolation: str, interval: int) -> float:
        calls.append(f"{interpolation} {interval}")
        return interval / 100

    rounds: list[list[whole_runs.Run]] = [[("transfer", 5), ("transfer", 30)], [("transfer", 30)]]
    assert whole_runs.in_rounds(every_frame, at_interval, rounds) == {
        ("transfer", 5): [(11.5, 0.05)],
        ("transfer", 30): [(11.5, 0.3), (12.5, 0.3)],
    }
    assert calls == ["every", "transfer 5", "transfer 30", "every", "transfer 30", "every"]


def test_a_case_with_two_different_ratios_is_run_again() -> None:
    once, twice, thrice = ("transfer", 5), ("transfer", 10), ("transfer", 30)
    seconds = {once: [0.1], twice: [0.1, 0.15, 0.11], thrice: [0.1, 0.11]}
    left = {run: iter(values) for run, values in seconds.items()}

    def at_interval(interpolation: str, interval: int) -> float:
        return next(left[interpolation, interval])

    rounds: list[list[whole_runs.Run]] = [[("transfer", 5), ("transfer", 10), ("transfer", 30)]]
    rounds.append([("transfer", 10), ("transfer", 30)])
    found = whole_runs.in_rounds(lambda: 1.0, at_interval, rounds)
    assert {run: [own for _, own in pairs] for run, pairs in found.items()} == seconds


def test_every_interval_is_run_at_least_twice() -> None:
    count = Counter(run for round_ in whole_runs.ROUNDS for run in round_)
    wanted = {("transfer", interval) for interval in paper.INTERVALS} | {whole_runs.MAX_WARP}
    assert set(count) == wanted
    assert min(count.values()) == 2
    assert count[whole_runs.LONGEST] == len(whole_runs.ROUNDS)


def test_repeated_requests_are_cached(bikes: Path) -> None:
    from benchmarks.data.models import shipped
    from benchmarks.runs.pipeline_run import RecordedStylizer

    with OnnxStylizer(shipped()[0]) as stylizer:
        recorded = RecordedStylizer(stylizer)
        code = recorded.encode_style(footage.style())
        frame = footage.fitted(footage.frames(bikes, 1)[0], 96, 48)
        first = recorded.stylize(frame, code, reply="map")
        assert recorded.stylize(frame.copy(), code, reply="map") is first
        assert recorded.stylize(255 - frame, code, reply="map") is not first
        assert recorded.stylize(frame, code, reply="image").image is not None


@pytest.mark.slow
def test_table4(tmp_path: Path) -> None:
    document = stored(
        table4.run(
            QUICK, print, clips=["bikes"], resolutions=["352x176"], clip_size="352x176", frames=17, samples=1
        ),
        tmp_path,
    )
    near = find(document, resolution="352x176", way="transfer", distance=1)
    far = find(document, clip="bikes", way="transfer", interval=15)
    every = find(document, clip="bikes", way="every frame")
    assert find(document, clip="bikes", way="transfer, steady", interval=15)
    assert near
    assert far
    assert every
    assert near["ms_ssim"] > 0.95  # the next frame differs little
    assert 0.8 < far["ms_ssim_worst"] <= far["ms_ssim"] <= 1
    assert far["key_frames"] == 2
    assert far["warping_error_filmed"] == every["warping_error_filmed"] > 0
    assert len(checked_tables(table4, document)) == 2


@pytest.mark.long
@pytest.mark.slow
def test_quality(tmp_path: Path) -> None:
    pairs, peer = tmp_path / "pairs", tmp_path / "idle"
    for folder in (pairs, peer):
        folder.mkdir()
    for name, style in (("01", "chelsea.png"), ("02", "rocket.jpg")):
        content = cv2.resize(footage.skimage_photo("coffee.png"), (300, 200))
        cv2.imwrite(str(pairs / f"{name}_content.png"), content)
        cv2.imwrite(str(pairs / f"{name}_style.png"), footage.skimage_photo(style))
    (peer / "01.png").write_bytes((pairs / "01_content.png").read_bytes())
    sheet = tmp_path / "sheet.png"
    cv2.imwrite(str(pairs / "01_target.png"), cv2.imread(str(pairs / "01_content.png")))
    result = quality.run(
        QUICK,
        print,
        pairs=pairs,
        peers=[peer],
        targets=pairs,
        strengths=[1.0],
        pairs_sheet=sheet,
        look_count=1,
    )
    document = stored(result, tmp_path)
    unchanged = find(document, method="content")
    assert unchanged
    assert unchanged["truth_psnr"] == 100
    assert unchanged["identity_error"] == 0
    assert unchanged["patches"] < 0.5
    idle, mkl = find(document, method="idle"), find(document, method="MKL")
    assert idle
    assert mkl
    assert idle["pairs"] == 1
    assert idle["edge_ssim"] == pytest.approx(1)
    assert mkl["relative_gram_to_relu3_3"] < idle["relative_gram_to_relu3_3"]
    assert mkl["identity_error"] < 1
    assert str(tmp_path) not in str(document)
    assert sheet.is_file()
    checked_tables(quality, document)


def test_pairs_with_known_results_are_deterministic(tmp_path: Path) -> None:
    first, second = look_pairs(None, 1), look_pairs(None, 1)
    assert (first[0].target == second[0].target).all()
    assert first[0].target.shape == first[0].content.shape
    with pytest.raises(PairsError, match="contains no photos"):
        look_pairs(tmp_path, 1)
    with pytest.raises(PairsError, match="contains no pairs"):
        quality.run(QUICK, print, pairs=tmp_path)
    luts = tmp_path / "luts.npz"
    np.savez(luts, luts=np.zeros((1, 2, 2, 2, 3), np.float32))
    with pytest.raises(LutTruthError, match="LUTs need photos"):
        quality.run(QUICK, print, luts=luts)


@pytest.mark.slow
def test_memory(tmp_path: Path) -> None:
    document = stored(memory.run(QUICK, print, lengths=(4, 8), resolutions=[SMALL]), tmp_path)
    cases = [row["case"] for row in document["results"]]
    assert [case["frames"] for case in cases[:2]] == [4, 8]
    assert [(case["model"], case["resolution"]) for case in cases[2:]] == [
        ("mvstylizer", SMALL),
        ("lite", SMALL),
    ]
    assert all(row["figures"]["peak_mib"] > 50 for row in document["results"])
    checked_tables(memory, document)
    with pytest.raises(memory.StylizeFailedError, match="exited with status 1"):
        memory.peak_mib(tmp_path / "none.mp4")
