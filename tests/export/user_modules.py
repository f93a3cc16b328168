"""Stylizers as users write them, and ways to get one wrong."""

from __future__ import annotations

from textwrap import dedent

GOOD = dedent(
    """\
    import torch
    from torch import nn


    class Mine(nn.Module):
        kind = "affine"
        style_code_size = 3
        network_pixels = 64 * 96
        style_pixels = 32 * 48
        cell = 8

        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.ones(3))

        def encode_style(self, style):
            return style.mean((2, 3)) * self.gain

        def predict(self, content, code):
            mean = nn.functional.avg_pool2d(content, self.cell)
            rows = []
            for i in range(3):
                zero = torch.zeros_like(mean[:, :1])
                one = zero + self.gain[i]
                shift = code[:, i : i + 1, None, None] - mean[:, i : i + 1]
                rows += [one if i == j else zero for j in range(3)] + [0.5 * shift]
            return torch.cat(rows, dim=1)


    def build():
        return Mine()
    """
)


def changed(old: str, new: str) -> str:
    """Return the good module with a part replaced."""
    assert old in GOOD
    return GOOD.replace(old, new)


def line_of(text: str, part: str) -> int:
    """Return the number of the first line with a part."""
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)
