"""One training step: draw a batch, compute the losses, update the weights.

A batch consists of *look pairs*, two random looks of one photo with a known result, under L1 (the first pair
is a photo in its own style, whose result is the photo itself), and *unrelated pairs*, any photo as content
and any other as style, under Eq. 5 and the losses that keep the result photographic. Only the local part is
trained, at match 1, where it has its full strength. Adam has beta = (0.5, 0.999) (paper section 4.2).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from training import processes
from training.color_augmentation import Look
from training.config import StepConfig
from training.grid import apply_grid
from training.look.heads import thumbnail, with_match
from training.loss import contrast_loss, grid_roughness, perceptual, structure_loss, tint_loss
from training.photos import PhotoFolder
from training.stylizer import StylizerNetwork, resize
from training.vgg import VggEncoder


class Sources(NamedTuple):
    """The photos of a batch: the same folder twice, or the frames and the styles that an edge received."""

    contents: PhotoFolder
    styles: PhotoFolder


def make_optimizer(stylizer: StylizerNetwork, config: StepConfig) -> torch.optim.Adam:
    """Return Adam over the trainable parameters: those of the local part but the encoder's."""
    return torch.optim.Adam(trainable(stylizer), lr=config.learning_rate, betas=(0.5, 0.999))


def train_step(
    stylizer: StylizerNetwork,
    loss_encoder: VggEncoder,
    optimizer: torch.optim.Adam,
    sources: Sources,
    config: StepConfig,
    step: int,
    device: str,
) -> dict[str, float]:
    """Draw a batch by (seed, step, process), take one optimizer step and return the losses."""
    content, style, target = (x.to(device) for x in draw(sources, config, step))
    code = with_match(_code(stylizer, style), 1.0)
    mapping = stylizer.mapping(content, code)
    stylized = stylizer.decode(content, code, mapping, share=1.0)
    grid = stylizer.finish(content, stylized, mapping)
    output, graded = apply_grid(grid, content), mapping(content)
    pairs = target.shape[0]
    eq5 = perceptual(loss_encoder, graded[pairs:], style[pairs:], output[pairs:])
    losses = {
        "look": F.l1_loss(output[:pairs], target),
        "structure": structure_loss(output[pairs:], content[pairs:]),
        "roughness": grid_roughness(grid),
        "range": (stylized - stylized.clamp(0, 1)).abs().mean(),
        "contrast": contrast_loss(output[pairs:], graded[pairs:]),
        "tint": tint_loss(output[pairs:], graded[pairs:]),
        "content": eq5.content,
        "style": eq5.style,
    }
    total = torch.stack([getattr(config, f"{name}_weight") * value for name, value in losses.items()]).sum()
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(total)
    processes.average_gradients(stylizer)
    torch.nn.utils.clip_grad_norm_(trainable(stylizer), 5.0)
    optimizer.step()
    return {k: round(float(v.detach()), 6) for k, v in {"total": total, **losses}.items()}


def draw(sources: Sources, config: StepConfig, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return content and style (B×3×crop×crop) and the look pairs' target (B//3×3×crop×crop, at least 1)."""
    rng = np.random.default_rng((config.seed, step, *processes.draw_key()))
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    pairs = max(1, config.batch // 3)
    here, there = sources.contents.batch(pairs, rng)
    before, after = Look(pairs, generator)(here), Look(pairs, generator)
    seen, target = after(there), after(here)
    if pairs > 1 or step % 4 == 0:  # a photo in its own style must not change
        seen[0], target[0] = before[0], before[0]
    content, _ = sources.contents.batch(config.batch - pairs, rng)
    style, _ = sources.styles.batch(config.batch - pairs, rng)
    return torch.cat([before, content]), torch.cat([seen, style]), target


def trainable(stylizer: StylizerNetwork) -> list[torch.nn.Parameter]:
    """Return the parameters that training changes."""
    return [parameter for parameter in stylizer.parameters() if parameter.requires_grad]


def _code(stylizer: StylizerNetwork, style: Tensor) -> Tensor:
    """Encode styles at half the size of contents, like an exported stylizer."""
    height, width = style.shape[2:]
    return stylizer.encode_style(resize(style, (height // 2, width // 2)), thumbnail(style))
