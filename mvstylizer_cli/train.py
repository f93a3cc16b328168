"""`mvstylizer train`: photos in, checkpoint out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mvstylizer.errors import need_extra
from mvstylizer_cli.console import JsonOption, Show, finish, warn

TRAIN_EXAMPLES = """\b
Examples:
  mvstylizer train --photos photos/ --out runs/first.safetensors --steps 20000
  mvstylizer train --photos photos/ --out runs/grade.safetensors --grade-only --batch 9 --learning-rate 1e-3
  mvstylizer train --photos photos/ --out runs/full.safetensors --start runs/grade.safetensors
  mvstylizer train --photos photos/ --out runs/lite.safetensors --variant lite --teacher runs/full.safetensors
  torchrun --nproc-per-node 4 -m mvstylizer_cli train --photos photos/ --out runs/big.safetensors --mixed
"""


def train(
    photos: Annotated[Path, typer.Option("--photos", metavar="DIR", help="Photos, plain or MS-COCO layout.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="CHECKPOINT", help="Checkpoint to write (.safetensors).")
    ],
    variant: Annotated[
        Literal["mvstylizer", "lite"], typer.Option(help="VGG encoder, or a small one of its own.")
    ] = "mvstylizer",
    steps: Annotated[int, typer.Option(min=1, help="Length of the run.")] = 20_000,
    batch: Annotated[int, typer.Option(min=2, help="Samples a step.")] = 2,
    crop: Annotated[int, typer.Option(min=32, help="Side of a training crop, a multiple of 8.")] = 128,
    learning_rate: Annotated[float, typer.Option(min=0, help="Adam's learning rate at the start.")] = 1e-4,
    style_weight: Annotated[float, typer.Option(min=0, help="lambda of Eq. 5.")] = 1.0,
    content_weight: Annotated[float, typer.Option(min=0, help="Weight of Eq. 5's content part.")] = 1.0,
    structure_weight: Annotated[float, typer.Option(min=0, help="Weight of the structure term.")] = 1.0,
    look_weight: Annotated[float, typer.Option(min=0, help="Weight of the look pairs.")] = 4.0,
    roughness_weight: Annotated[float, typer.Option(min=0, help="Weight of an uneven affine map.")] = 20.0,
    ridge: Annotated[float, typer.Option(min=0, help="Regularization of the affine finish.")] = 2e-3,
    colorization: Annotated[
        Literal["literal", "mean", "residual", "moment", "attention"], typer.Option(help="Reading of Eq. 2.")
    ] = "moment",
    start: Annotated[
        Path | None, typer.Option(metavar="CHECKPOINT", help="Begin with this checkpoint's weights.")
    ] = None,
    teacher: Annotated[
        Path | None, typer.Option(metavar="CHECKPOINT", help="Learn this stylizer's pictures (for lite).")
    ] = None,
    grade_only: Annotated[
        bool, typer.Option("--grade-only", help="Train the global grade alone: a good first stretch.")
    ] = False,
    tensorboard: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write TensorBoard events there, too.")
    ] = None,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 500,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    mixed: Annotated[
        bool, typer.Option("--mixed", help="Convolutions in bfloat16 (GPU, or AVX-512 BF16 and AMX).")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint at --out.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a stylizer on a folder of photos."""
    need_extra("train", "torch")
    if crop % 8:
        raise typer.BadParameter(f"{crop} is no multiple of 8", param_hint="--crop")
    from training.config import TrainConfig
    from training.loop import train as run
    from training.options import StylizerDims

    config = TrainConfig(
        photos, out, steps=steps, batch=batch, crop=crop, learning_rate=learning_rate,
        style_weight=style_weight, content_weight=content_weight, structure_weight=structure_weight,
        look_weight=look_weight, roughness_weight=roughness_weight, grade_only=grade_only, seed=seed,
        mixed=mixed, save_every=save_every, teacher=teacher, start=start, tensorboard=tensorboard,
        dims=StylizerDims(variant=variant, colorization=colorization, ridge=ridge),
    )  # fmt: skip
    with Show("Training") as show:
        used = run(config, resume=resume, progress=lambda step, losses: show(step, steps, _losses(losses)))
    if used.broken:
        warn([f"{len(used.broken)} files could not be read as photos of 64 pixels or more, and were skipped"])
    result = {"checkpoint": str(out), "steps": steps, "photos": len(used.paths), "skipped": len(used.broken)}
    finish(result, f"Checkpoint: {out}", as_json)


def _losses(losses: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
