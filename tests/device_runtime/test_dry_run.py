from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from skimage import data

from device_runtime.dry_run import plan_video
from device_runtime.media.photo import PhotoError, write_photo
from device_runtime.media.video_info import VideoError
from device_runtime.options import StylizeOptions
from device_runtime.pipeline import stylize_video
from device_runtime.report import PARTS
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from mvstylizer.bundle import default_bundle, load_bundle
from tests.device_runtime.clips import remux, write_clip

BUNDLE = load_bundle(default_bundle())


@pytest.fixture
def style(tmp_path: Path) -> Path:
    write_photo(tmp_path / "style.png", data.coffee())
    return tmp_path / "style.png"


@pytest.mark.parametrize("policy", ["every:20", "adaptive:0.7"])
def test_a_run_does_what_its_plan_says(bikes: Path, style: Path, tmp_path: Path, policy: str) -> None:
    source = remux(bikes, tmp_path / "street.mp4", until=2.96)
    before = sorted(os.listdir(tmp_path))
    with OnnxStylizer(BUNDLE) as stylizer:
        plan = plan_video(source, style, options=StylizeOptions(policy), stylizer=stylizer, bundle=BUNDLE)
        assert sorted(os.listdir(tmp_path)) == before
        report = stylize_video(
            source,
            style,
            tmp_path / "out.mp4",
            options=StylizeOptions(policy=policy),
            stylizer=stylizer,
            bundle=BUNDLE,
        )
    assert (plan.frames, plan.key_frames) == (report.frames, report.key_frames) == (76, plan.key_frames)
    assert (plan.width, plan.height, plan.interpolation, plan.edge_output) == (640, 272, "transfer", "map")
    assert plan.cuts == [30]
    assert len(plan.key_frame_indices) == plan.key_frames
    assert {0, 30} <= set(plan.key_frame_indices)
    estimate = plan.estimated_seconds
    assert set(estimate) == {*PARTS, "total"}
    assert max(estimate[part] for part in PARTS) <= estimate["total"] <= sum(estimate.values())
    assert min(estimate.values()) > 0
    assert json.loads(json.dumps(plan.as_dict())) == plan.as_dict()
    assert "76 frames of 640×272" in plan.summary()
    assert "1 scene cuts" in plan.summary()


def test_the_estimate_grows_with_the_video(bikes: Path, style: Path, tmp_path: Path) -> None:
    with OnnxStylizer(BUNDLE) as stylizer:
        plans = [
            plan_video(
                remux(bikes, tmp_path / f"{until}.mp4", until=until),
                style,
                options=StylizeOptions("every:15"),
                stylizer=stylizer,
                bundle=BUNDLE,
            )
            for until in (0.9, 9.9)
        ]
    short, long = plans
    assert short.calibration_frames == long.calibration_frames == 24
    assert long.frames > 8 * short.frames
    assert long.estimated_seconds["total"] > 2 * short.estimated_seconds["total"]


def test_a_video_shorter_than_the_calibration(style: Path, tmp_path: Path) -> None:
    source = write_clip(tmp_path / "one.mp4", [0])
    with OnnxStylizer(BUNDLE) as stylizer:
        plan = plan_video(source, style, stylizer=stylizer, bundle=BUNDLE)
    assert (plan.frames, plan.key_frame_indices, plan.cuts, plan.calibration_frames) == (1, [0], [], 1)


def test_bad_input_is_refused(bikes: Path, style: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with OnnxStylizer(BUNDLE) as stylizer:
        for source, photo, error in (
            (tmp_path / "text.mp4", style, VideoError),
            (bikes, bikes, PhotoError),
        ):
            with pytest.raises(error):
                plan_video(source, photo, stylizer=stylizer, bundle=BUNDLE)
