from __future__ import annotations

import json

from device_runtime.report import PARTS, Report, Stopwatch


def test_a_report_is_plain_json() -> None:
    report = Report(3, 1, 2, {"total": 0.5}, "warp", "image", "out.mp4", 64, 48, [0], 2, ["one warning"])
    assert json.loads(json.dumps(report.as_dict())) == report.as_dict()


def test_every_part_has_a_time_and_the_total_covers_them() -> None:
    watch = Stopwatch()
    with watch.measure("flow"):
        pass
    assert list(watch.measured("decode", iter([1, 2, 3]))) == [1, 2, 3]
    seconds = watch.seconds()
    assert set(seconds) == {*PARTS, "total"}
    assert seconds["total"] >= max(seconds[part] for part in PARTS)


def test_time_counts_also_when_a_block_fails() -> None:
    watch = Stopwatch()
    try:
        with watch.measure("edge"):
            sum(range(300_000))
            raise ValueError
    except ValueError:
        pass
    assert watch.seconds()["edge"] > 0
