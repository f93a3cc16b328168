"""``mvstylizer train``: train a stylizer on a folder of photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mvstylizer.errors import need_extra
from mvstylizer_cli.console import JsonOption, Show, finish, warn

TRAIN_EXAMPLES = """\b
Examples:
  mvstylizer train --photos photos/ --out runs/first.safetensors --steps 20000
  mvstylizer train --photos photos/ --out runs/strong.safetensors --style-weight 3 --content-weight 0.05
  mvstylizer train --photos photos/ --out runs/more.safetensors --start runs/first.safetensors
  torchrun --nproc-per-node 4 -m mvstylizer_cli train --photos photos/ --out runs/big.safetensors --mixed
"""


def train(
    photos: Annotated[Path, typer.Option("--photos", metavar="DIR", help="Folder of photos, in any layout.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="CHECKPOINT", help="Checkpoint to write (.safetensors).")
    ],
    steps: Annotated[int, typer.Option(min=1, help="Number of training steps.")] = 20_000,
    batch: Annotated[int, typer.Option(min=2, help="Samples per step.")] = 2,
    crop: Annotated[
        int, typer.Option(min=32, help="Side of a training crop in pixels, a multiple of 32.")
    ] = 192,
    learning_rate: Annotated[float, typer.Option(min=0, help="Initial learning rate of Adam.")] = 1e-4,
    style_weight: Annotated[
        float, typer.Option(min=0, help="Weight of the style loss, Eq. 5's lambda.")
    ] = 1.0,
    content_weight: Annotated[float, typer.Option(min=0, help="Weight of the content loss of Eq. 5.")] = 1.0,
    structure_weight: Annotated[float, typer.Option(min=0, help="Weight of the edge structure loss.")] = 1.0,
    look_weight: Annotated[float, typer.Option(min=0, help="Weight of pairs with a known result.")] = 4.0,
    contrast_weight: Annotated[
        float, typer.Option(min=0, help="Weight of lost local contrast, which looks like haze.")
    ] = 2.0,
    tint_weight: Annotated[
        float, typer.Option(min=0, help="Weight of chroma that drifts from the global LUT's.")
    ] = 4.0,
    roughness_weight: Annotated[float, typer.Option(min=0, help="Weight of the grid's roughness.")] = 0.1,
    ridge: Annotated[float, typer.Option(min=0, help="Regularization of the grid's fit.")] = 1e-3,
    colorization: Annotated[
        Literal["literal", "mean", "residual", "moment", "attention"],
        typer.Option(help="Interpretation of Eq. 2."),
    ] = "moment",
    start: Annotated[
        Path | None, typer.Option(metavar="CHECKPOINT", help="Start with the weights of this checkpoint.")
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for TensorBoard events.")
    ] = None,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between saved checkpoints.")] = 500,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    mixed: Annotated[
        bool, typer.Option("--mixed", help="Run convolutions in bfloat16 (GPU, AVX-512 BF16 or AMX).")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the checkpoint at --out.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a stylizer's local part on a folder of photos.

    The global look and palette come with the kit; python -m training.look.loop trains another look.
    """
    need_extra("train", "torch")
    if crop % 32:
        raise typer.BadParameter(f"{crop} is not a multiple of 32", param_hint="--crop")
    from training.config import TrainConfig
    from training.loop import train as run
    from training.options import StylizerDims

    config = TrainConfig(
        photos,
        out,
        steps=steps,
        batch=batch,
        crop=crop,
        learning_rate=learning_rate,
        style_weight=style_weight,
        content_weight=content_weight,
        structure_weight=structure_weight,
        look_weight=look_weight,
        roughness_weight=roughness_weight,
        contrast_weight=contrast_weight,
        tint_weight=tint_weight,
        seed=seed,
        mixed=mixed,
        save_every=save_every,
        start=start,
        tensorboard=tensorboard,
        dims=StylizerDims(colorization=colorization, ridge=ridge),
    )
    with Show("Training") as show:
        used = run(config, resume=resume, progress=lambda step, losses: show(step, steps, _losses(losses)))
    if used.broken:
        warn([f"Skipped {len(used.broken)} files that are unreadable or smaller than 64 pixels"])
    result = {"checkpoint": str(out), "steps": steps, "photos": len(used.paths), "skipped": len(used.broken)}
    finish(result, f"Checkpoint: {out}", as_json)


def _losses(losses: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
