"""The card of a run, ``NAME.card.md`` next to its checkpoint: options, data and losses."""

from __future__ import annotations

import json
from pathlib import Path

from training.config import TrainConfig
from training.loss_log import log_path
from training.photos import PhotoFolder
from training.stylizer import StylizerNetwork

TAIL = 100  # steps averaged at the start and at the end of the run


def write_card(config: TrainConfig, stylizer: StylizerNetwork, photos: PhotoFolder) -> Path:
    """Write the card from the run's options and its loss log, and return its path."""
    path = config.out.with_suffix(".card.md")
    path.write_text(card(config, stylizer, photos))
    return path


def card(config: TrainConfig, stylizer: StylizerNetwork, photos: PhotoFolder) -> str:
    """Return the card's Markdown."""
    rows = [json.loads(line) for line in log_path(config.out).read_text().splitlines()]
    names = [name for name in rows[-1] if name not in ("step", "time")]
    tables = [f"| steps | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for part in (rows[:TAIL], rows[-TAIL:]):
        means = (f"{sum(row[name] for row in part) / len(part):.4f}" for name in names)
        tables.append(f"| {part[0]['step']}–{part[-1]['step']} | {' | '.join(means)} |")
    trainable = sum(p.numel() for p in stylizer.parameters() if p.requires_grad)
    options = ", ".join(f"{name} {value}" for name, value in config.as_dict().items())
    dims = ", ".join(f"{name} {value}" for name, value in config.dims.as_dict().items())
    broken = f", of which {len(photos.broken)} were unreadable and skipped" if photos.broken else ""
    return "\n".join(
        [
            f"# {config.out.stem}\n",
            f"- Trainable parameters: {trainable:,}",
            f"- Photos: {len(photos.paths):,}{broken}",
            f"- Dimensions: {dims}",
            f"- Options: {options}",
            f"- Initial weights: {config.start.name if config.start else 'the look network alone'}",
            f"- Seconds: {rows[-1]['time'] - rows[0]['time']:.0f}\n",
            "Mean losses of the first and the last hundred steps:\n",
            *tables,
            "",
        ]
    )
