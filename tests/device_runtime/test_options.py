from __future__ import annotations

from typing import Any

import pytest

from device_runtime.key_frames.policy import KeyFramePolicyError
from device_runtime.options import StylizeOptions


@pytest.mark.parametrize(
    ("chosen", "named"),
    [
        ({"strength": 1.5}, "strength 1.5"),
        ({"interpolation": "blur"}, "interpolation 'blur'"),
        ({"interpolation": "transfer", "edge_output": "image"}, "needs edge_output 'map'"),
        ({"edge_output": "both"}, "edge_output 'both'"),
        ({"flow_init": "before"}, "flow_init 'before'"),
        ({"temporal_smoothing_s": -1}, "temporal_smoothing_s -1"),
        ({"temporal_smoothing_s": float("inf")}, "not finite"),
        ({"max_interval": 0}, "max_interval 0"),
        ({"crf": 52}, "crf 52"),
    ],
)
def test_an_option_out_of_range_is_refused_by_name(chosen: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        StylizeOptions(**chosen)


@pytest.mark.parametrize("policy", ["sometimes", "every:0", "every:31", "adaptive:1"])
def test_a_wrong_policy_is_refused_on_construction(policy: str) -> None:
    with pytest.raises(KeyFramePolicyError):
        StylizeOptions(policy)


def test_the_requested_output_follows_the_interpolation() -> None:
    assert StylizeOptions().requested_output == "map"
    assert StylizeOptions(interpolation="warp").requested_output == "image"
    assert StylizeOptions(interpolation="warp", edge_output="map").requested_output == "map"


def test_live_runs_refuse_what_they_do_not_support() -> None:
    StylizeOptions(strength=0.5).check_live()
    for options in (
        StylizeOptions(interpolation="warp", edge_output="map"),
        StylizeOptions(flow_init="codec"),
    ):
        with pytest.raises(ValueError, match="live runs"):
            options.check_live()
