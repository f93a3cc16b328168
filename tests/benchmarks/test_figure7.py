"""Figure 7: a federation in one process, and the arithmetic of its loss curves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from safetensors.numpy import load_file

from benchmarks import figure7
from benchmarks.data.federation_photos import RetrainingPhotosError, lay_out
from benchmarks.federated import loss_curve
from benchmarks.federated.experiment import ExperimentError, Settings, run_curves
from benchmarks.federated.fleet import _SEED_STRIDE, Point
from benchmarks.federated.loss_curve import images_until, smoothed
from benchmarks.figure7 import reach_rows
from benchmarks.harness.result import Result
from fl.local_training import retrain
from fl.parameters import trained

TINY = Settings(crop=32, steps=1, rounds=(2, 1, 0), contents=2, styles=1)


def line(*totals: float) -> list[Point]:
    return [Point(100 * place, total, 0.25 * total, 0.75 * total) for place, total in enumerate(totals)]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for name in ("astronaut", "coffee", "chelsea", "rocket"):
        photo = getattr(skimage.data, name)()[..., ::-1]
        for place, part in enumerate(np.array_split(photo, 4, axis=1)):
            cv2.imwrite(str(folder / f"{name}{place}.jpg"), cv2.resize(part, (96, 128)))
    return folder


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rounds")


@pytest.fixture(scope="module")
def curves(work: Path, photos: Path) -> dict[int, list[Point]]:
    return run_curves(TINY, work, photos, 2, lambda _: None)


def test_the_model_of_two_edges_is_the_mean_of_their_updates(
    curves: dict[int, list[Point]], work: Path
) -> None:
    updates = [
        retrain(
            work / "start.safetensors",
            work / "spool",
            steps=1,
            config=replace(TINY.step_config(), seed=edge * _SEED_STRIDE),
        ).parameters
        for edge in (0, 1)
    ]
    merged = load_file(work / "2-edges" / "00001" / "model.safetensors")
    for name, value in trained(merged).items():
        np.testing.assert_allclose(value, (updates[0][name] + updates[1][name]) / 2, atol=2e-5)
    assert [point.images for point in curves[2]] == [0, 2]


def test_all_curves_start_with_the_same_model(curves: dict[int, list[Point]]) -> None:
    assert {curve[0] for curve in curves.values()} == {curves[4][0]}
    assert [point.images for point in curves[1]] == [0, 2, 4]
    for point in curves[1]:
        assert point.total == pytest.approx(point.content + point.style)


def test_a_finished_run_is_not_repeated(curves: dict[int, list[Point]], work: Path, photos: Path) -> None:
    lines: list[str] = []
    assert run_curves(TINY, work, photos, 2, lines.append) == curves
    assert lines == []


def test_a_folder_with_other_settings_is_rejected(
    curves: dict[int, list[Point]], work: Path, photos: Path
) -> None:
    with pytest.raises(ExperimentError, match="other settings"):
        run_curves(replace(TINY, learning_rate=0.5), work, photos, 2, lambda _: None)


def test_held_out_photos_are_not_in_the_spool(curves: dict[int, list[Point]], work: Path) -> None:
    names = {
        part: {path.name for path in (work / part).rglob("*.jpg")}
        for part in ("spool/frames", "spool/styles", "holdout/contents", "holdout/styles")
    }
    assert [len(found) for found in names.values()] == [13, 13, 2, 1]
    held = names["holdout/contents"] | names["holdout/styles"]
    assert len(held) == 3
    assert not held & (names["spool/frames"] | names["spool/styles"])


def test_too_few_photos_are_reported(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(RetrainingPhotosError, match="too few"):
        lay_out(tmp_path, photos, short_side=64, contents=4, styles=1)


def test_images_to_a_loss_are_interpolated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_curve, "NEIGHBORS", 0)
    curve = line(1.0, 0.8, 0.9, 0.5)
    assert images_until(curve, 0.9) == pytest.approx(50)
    assert images_until(curve, 0.6) == pytest.approx(275)
    assert images_until(curve, 0.5) == pytest.approx(300)
    assert images_until(curve, 0.4) is None


def test_smoothing_is_a_centered_mean_without_the_last_points() -> None:
    assert smoothed(line(5, 4, 3, 2, 1, 0)) == pytest.approx([5, 4, 3, 2])  # a straight line is unchanged
    assert smoothed(line(6, 0, 0, 0, 9)) == pytest.approx([6, 2, 3])


def test_a_federation_four_times_faster_has_a_ratio_of_4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_curve, "NEIGHBORS", 0)
    one = line(*(1 / (1 + place) for place in range(17)))
    four = [Point(point.images // 4, *point[1:]) for point in one]
    rows = {
        (row.case["share"], row.case["edges"]): row.figures for row in reach_rows({1: one, 2: one, 4: four})
    }
    assert rows[1.0, 4]["ratio_1_to_4"] == pytest.approx(4)
    assert rows[0.5, 4]["ratio"] == pytest.approx(4)
    assert rows[1.0, 2]["ratio"] == pytest.approx(1)
    assert "ratio_1_to_4" not in rows[1.0, 2]


def test_a_loss_that_is_not_reached_is_shown_as_a_lower_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_curve, "NEIGHBORS", 1)
    one = line(1.0, 0.5, 0.3, 0.2, 0.1)
    made = {1: one, 2: line(1.0, 0.9, 0.9, 0.9), 4: one}
    rows = [*figure7.curve_rows(made), *reach_rows(made)]
    document = json.loads(json.dumps(Result("figure7", figure7.FIGURES, rows).document({})))
    (table,) = figure7.tables(document)
    needed = {(row[1], row[2]): row[3] for row in table.rows}
    assert needed["100%", "2"] == "> 200"  # the point at 300 has no next neighbor
    assert needed["100%", "4"] == "300"


def test_a_stored_result_becomes_a_table_and_plots(
    curves: dict[int, list[Point]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss_curve, "NEIGHBORS", 0)
    four = [Point(point.images // 4, *point[1:]) for point in line(1.0, 0.5, 0.3, 0.2, 0.1)]
    made = {1: line(1.0, 0.5, 0.3, 0.2, 0.1), 2: curves[2], 4: four}
    rows = [*figure7.curve_rows(made), *reach_rows(made)]
    document = json.loads(json.dumps(Result("figure7", figure7.FIGURES, rows).document({})))
    (table,) = figure7.tables(document)
    assert [cell for cell in table.rows[-1] if cell][2:5] == ["4", "100", "4.00"]
    drawn = figure7.plots(document)
    assert drawn[0].curves["4 edges"][1] == (25, 0.5)
    assert dict(drawn[-1].curves["ours"])[4] == pytest.approx(0.25)
    assert dict(drawn[-1].curves["paper"])[4] == pytest.approx(0.3)
