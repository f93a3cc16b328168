from __future__ import annotations

import numpy as np
import pytest
import torch

from export.parity.reference import Reference
from export.parity.test_images import parity_picture
from training.look.checkpoint import LOOK_WEIGHTS, load_look
from training.options import StylizerDims
from training.stylizer import StylizerNetwork, resize, style_size


@pytest.fixture
def stylizer() -> StylizerNetwork:
    torch.manual_seed(0)
    dims = StylizerDims(variant="lite", network_pixels=48 * 64, style_pixels=24 * 32)
    made = StylizerNetwork(dims).eval().requires_grad_(False)
    made.heads.network.load_state_dict(load_look(LOOK_WEIGHTS).state_dict())
    return made


def unit(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1)[None] / 255


@pytest.mark.parametrize("r", [0.5, 1.0, 1.7])
def test_the_outputs_are_those_of_the_network(stylizer: StylizerNetwork, r: float) -> None:
    reference, style, frame = Reference(stylizer), parity_picture(60, 80, 1), parity_picture(81, 143, 2)
    code = reference.style_code(style)
    expected = stylizer.encode_style(resize(unit(style), style_size(60, 80, stylizer.dims)))
    np.testing.assert_allclose(code, expected, atol=1e-5)
    stylized = stylizer(unit(frame), torch.from_numpy(code), r)[0].permute(1, 2, 0).numpy()
    found = reference.stylized(frame, code, r)[0]
    assert found.shape == (round(81 * r), round(143 * r), 3)
    assert np.abs(found - 255 * stylized).max() <= 0.51


def test_each_output_is_computed_once(stylizer: StylizerNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("encode_style", "grid"):
        method = getattr(stylizer, name)
        monkeypatch.setattr(
            stylizer, name, lambda *inputs, run=method, of=name: calls.append(of) or run(*inputs)
        )
    reference = Reference(stylizer)
    for _ in range(2):
        for seed in (1, 2):
            frame = parity_picture(48, 64, seed)
            code = reference.style_code(parity_picture(24, 32, seed=3))
            reference.grid(frame, code)
            reference.stylized(frame, code, 1.25)
    assert sorted(calls) == ["encode_style", "grid", "grid"]
