"""Rows of the pipeline benchmark: Table 2 and Figure 5 as measured on a phone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from device_runtime.bench.pipeline_run import PipelineConfig
from device_runtime.bench.results import EMULATED, ResultsError, Row, markdown_table, read_rows
from device_runtime.report import PARTS

SCHEMA: Final = "mvstylizer.bench.pipeline/1"
_REQUIRED: Final = {"config", "seconds", "phone", "verdict"}
SHARES: Final = f"{EMULATED} Stages are shares of their sum."


def read(path: Path) -> list[Row]:
    """Read the rows of a file; a later row replaces an earlier one of the same configuration.

    Raises:
        ResultsError: It is missing, is not JSON lines, or has another schema.
    """
    return read_rows(path, SCHEMA, _REQUIRED, config_key)


def config_key(row: Mapping[str, Any]) -> str:
    """Return the key of a row within a run, for example ``512x256 transfer every:15 edge``."""
    config = row["config"]
    width, height = config["resolution"]
    return f"{width}x{height} {config['interpolation']} every:{config['interval']} {config['where']}"


def key_of(config: PipelineConfig, where: str) -> str:
    """Return the key that a configuration's row will have."""
    return f"{config.width}x{config.height} {config.interpolation} every:{config.interval} {where}"


def markdown(rows: Sequence[Row]) -> str:
    """Return Table 2, stages and whole runs, and Figure 5, speed-ups, as Markdown."""
    text = _table2(rows)
    speed_ups = figure5(rows)
    if speed_ups:
        intervals = sorted({interval for curve in speed_ups.values() for interval in curve})
        cells = [
            [name, *(f"{curve[i]:.2f}" if i in curve else "" for i in intervals)]
            for name, curve in speed_ups.items()
        ]
        head = ["Figure 5: speed-up", *(f"every {interval}" for interval in intervals)]
        text += "\n" + markdown_table(head, cells)
    return text


def figure5(rows: Sequence[Row]) -> dict[str, dict[int, float]]:
    """Return the speed-up over stylizing every frame by interval, for each resolution and method.

    Only rows whose figures may be quoted count; a resolution without a run at interval 1 has no speed-up.
    """
    curves: dict[str, dict[int, float]] = {}
    for row in rows:
        if row["verdict"] == "valid":
            config, report = row["config"], row["seconds"]
            width, height = config["resolution"]
            name = f"{width}x{height} {config['interpolation']}"
            curves.setdefault(name, {})[config["interval"]] = report["total"] / row["frames"]
    return {
        name: {interval: curve[1] / seconds for interval, seconds in curve.items() if interval != 1}
        for name, curve in curves.items()
        if 1 in curve and len(curve) > 1
    }


def save_plot(rows: Sequence[Row], path: Path) -> None:
    """Draw Figure 5: speed-up by key-frame interval, a curve for each resolution.

    Args:
        rows: Rows of one phone.
        path: The picture; its suffix selects the format (.png, .svg, .pdf).

    Raises:
        ResultsError: The file cannot be written, or its suffix is unknown.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for name, curve in figure5(rows).items():
        axes.plot(sorted(curve), [curve[interval] for interval in sorted(curve)], "o-", label=name)
    axes.set_xlabel("key-frame interval, frames")
    axes.set_ylabel("speed-up over stylizing every frame")
    phone = rows[0]["phone"]
    axes.set_title(f"{phone['model']} ({phone['soc']}), Android {phone['android']}")
    if axes.lines:
        axes.legend(fontsize=8)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150, format=path.suffix[1:])
    except (OSError, ValueError) as err:
        raise ResultsError(f"Cannot draw {path}: {err}", "Use a .png, .svg or .pdf file") from err


def _table2(rows: Sequence[Row]) -> str:
    emulated = any(row["phone"].get("emulated") for row in rows)
    unit = "%" if emulated else "ms"
    stages = [f"{part} {unit}" for part in PARTS]
    wall = [] if emulated else ["wall ms"]
    head = ["resolution", "method", "every", *stages, *wall, "peak MB", "kB sent", "°C", "PSNR dB", "verdict"]
    text = markdown_table(head, [_cells(row, emulated) for row in rows])
    return f"{text}\n{SHARES}\n" if emulated else text


def _cells(row: Row, emulated: bool) -> list[str]:
    config, seconds = row["config"], row["seconds"]
    width, height = config["resolution"]
    described = [f"{width}x{height}", config["interpolation"], str(config["interval"])]
    if not seconds:
        return [*described, *[""] * (len(PARTS) + (not emulated) + 4), row["verdict"]]
    whole = sum(seconds[part] for part in PARTS) or 1.0
    if emulated:
        times = [f"{100 * seconds[part] / whole:.0f}" for part in PARTS]
    else:
        times = [f"{1000 * seconds[part] / row['frames']:.1f}" for part in (*PARTS, "total")]
    warmth = [state["battery_c"] for state in row["states"] if state["battery_c"] is not None]
    return [
        *described,
        *times,
        f"{row['usage']['peak_mb']:.0f}",
        f"{row['bytes_sent'] / 1000:.0f}",
        f"{max(warmth):.1f}" if warmth else "",
        f"{row['likeness']['min_db']:.1f}",
        row["verdict"],
    ]
