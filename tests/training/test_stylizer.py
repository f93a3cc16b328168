from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mvstylizer.stylizer import is_too_thin
from training.look.heads import with_match
from training.options import StylizerDims
from training.stylizer import StylizerNetwork, network_size, style_size


@pytest.fixture(scope="module")
def untrained() -> StylizerNetwork:
    return StylizerNetwork().eval()


@pytest.fixture(scope="module")
def perturbed() -> StylizerNetwork:
    """A stylizer with a decoder that has an effect, as after training."""
    torch.manual_seed(0)
    stylizer = StylizerNetwork().eval()
    torch.nn.init.normal_(stylizer.local.decoder.rgb.weight, std=0.01)
    return stylizer


@torch.no_grad()
def test_untrained_is_the_global_mapping(
    untrained: StylizerNetwork, coffee: torch.Tensor, cat: torch.Tensor
) -> None:
    content = coffee[:, :, :128, :192]
    code = untrained.encode_style(cat)
    expected = untrained.mapping(content, code)(content)
    error = untrained(content, code) - expected
    assert -10 * error.square().mean().log10() > 38  # dB; what the grid cannot hold


@torch.no_grad()
def test_lite_is_the_same_global_mapping(coffee: torch.Tensor, cat: torch.Tensor) -> None:
    torch.manual_seed(0)
    lite = StylizerNetwork(StylizerDims(variant="lite")).eval()
    whole = StylizerNetwork().eval()
    whole.heads.load_state_dict(lite.heads.state_dict())
    content = coffee[:, :, :128, :192]
    codes = (stylizer.encode_style(cat) for stylizer in (lite, whole))
    one, other = (each(content, code) for each, code in zip((lite, whole), codes, strict=True))
    torch.testing.assert_close(one, other, atol=2e-3, rtol=0)


@torch.no_grad()
def test_the_look_alone_has_no_local_part(
    perturbed: StylizerNetwork, coffee: torch.Tensor, cat: torch.Tensor
) -> None:
    content, code = coffee[:, :, :128, :192], with_match(perturbed.encode_style(cat), 0.0)
    mapping = perturbed.mapping(content, code)
    torch.testing.assert_close(perturbed.decode(content, code, mapping), mapping(content))


@torch.no_grad()
def test_a_photo_in_its_own_style_hardly_changes(untrained: StylizerNetwork, cat: torch.Tensor) -> None:
    content = cat[:, :, :144, :216]
    torch.testing.assert_close(
        untrained(content, untrained.encode_style(content)), content, atol=0.02, rtol=0
    )


@torch.no_grad()
def test_the_decoder_changes_the_picture_locally(
    perturbed: StylizerNetwork, untrained: StylizerNetwork, coffee: torch.Tensor, cat: torch.Tensor
) -> None:
    code = untrained.encode_style(cat)
    difference = (perturbed(coffee, code) - untrained(coffee, code)).abs()
    assert difference.mean() > 1 / 255
    # The change varies locally, which no global color map can do.
    assert difference.mean(dim=1).std() > 0.2 / 255


@torch.no_grad()
@pytest.mark.parametrize("finish", ["grid", "plain"])
@pytest.mark.parametrize(
    ("height", "width", "r"), [(64, 96, 1.0), (61, 97, 1.7), (80, 64, 0.5), (33, 47, 3.0)]
)
def test_any_size_and_factor(finish: str, height: int, width: int, r: float) -> None:
    stylizer = StylizerNetwork(dataclasses.replace(StylizerDims(), finish=finish)).eval()  # type: ignore[arg-type]
    frame = torch.rand(1, 3, height, width)
    out = stylizer(frame, stylizer.encode_style(torch.rand(1, 3, 48, 40)), r)
    assert tuple(out.shape) == (1, 3, round(r * height), round(r * width))
    assert out.min() >= 0
    assert out.max() <= 1


@torch.no_grad()
def test_style_code_does_not_depend_on_the_order_of_a_batch(untrained: StylizerNetwork) -> None:
    styles = torch.rand(3, 3, 48, 64)
    codes = untrained.encode_style(styles)
    assert codes.shape == (3, untrained.style_code_size)
    torch.testing.assert_close(untrained.encode_style(styles[1:2]), codes[1:2], atol=1e-4, rtol=1e-4)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 6000), st.integers(1, 6000))
def test_network_size_keeps_the_budget(height: int, width: int) -> None:
    dims = StylizerDims()
    h, w = network_size(height, width, dims)
    assert h % dims.map_cell == 0
    assert w % dims.map_cell == 0
    assert min(h, w) >= 2 * dims.map_cell
    if not is_too_thin(height, width):  # whole cells exceed it a little
        assert h * w <= 1.3 * dims.network_pixels
    assert min(style_size(height, width, dims)) >= 16


def test_the_paper_sizes() -> None:
    assert network_size(1080, 1920, StylizerDims()) == (288, 512)
    assert network_size(256, 512, StylizerDims()) == (256, 512)


@torch.no_grad()
@pytest.mark.parametrize("variant", ["mvstylizer", "lite"])
@pytest.mark.parametrize("mode", ["literal", "mean", "residual", "moment", "attention"])
def test_every_variant_and_mode_computes_a_picture(variant: str, mode: str) -> None:
    dims = StylizerDims(variant=variant, colorization=mode)  # type: ignore[arg-type]
    stylizer = StylizerNetwork(dims).eval()
    code = stylizer.encode_style(torch.rand(2, 3, 48, 64))
    assert code.shape == (2, stylizer.style_code_size)
    assert torch.isfinite(stylizer(torch.rand(2, 3, 64, 80), code)).all()


def test_lite_is_small() -> None:
    assert sum(p.numel() for p in StylizerNetwork(StylizerDims(variant="lite")).parameters()) < 500_000


def test_only_decoder_and_smoothing_are_trained(untrained: StylizerNetwork) -> None:
    trained = {
        ".".join(name.split(".")[:2]) for name, value in untrained.named_parameters() if value.requires_grad
    }
    assert trained == {"local.decoder", "local.smoothing"}
    stored = {".".join(name.split(".")[:2]) for name in untrained.state_dict()}
    assert stored == {"heads.network", *trained}
