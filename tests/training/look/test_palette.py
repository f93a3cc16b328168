import pytest
import torch

from training.look.heads import GlobalHeads
from training.look.lut import apply_lut
from training.look.network import LookNetwork
from training.look.opponent import from_opponent, to_opponent
from training.look.palette import palette_lut
from training.look.style_colors import style_colors
from training.look.tone import ToneOptions, measure, tone_curve


def photo(seed, low=0.0, high=1.0, color=1.0):
    """Return a smooth random picture, 1×3×96×96."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 6, 6, generator=generator)
    picture = torch.nn.functional.interpolate(coarse, size=(96, 96), mode="bicubic").clamp(0, 1)
    gray = picture.mean(1, keepdim=True)
    return low + (high - low) * (gray + color * (picture - gray)).clamp(0, 1)


def text():
    picture = torch.ones(1, 3, 96, 96)
    picture[..., 20:24, 10:80] = picture[..., 40:44, 10:60] = 0
    return picture


ODD = {
    "black": torch.zeros(1, 3, 96, 96),
    "white": torch.ones(1, 3, 96, 96),
    "gray": torch.full((1, 3, 96, 96), 0.5),
    "red": torch.tensor([0.9, 0.1, 0.1]).view(1, 3, 1, 1).expand(1, 3, 96, 96),
    "text": text(),
    "nearly monochrome": photo(3, color=0.02),
    "one pixel": torch.rand(1, 3, 1, 1, generator=torch.Generator().manual_seed(0)),
}
PAIRS = [(photo(1), photo(2)), (photo(1, 0, 0.3), photo(2, 0.4, 1)), (photo(1, 0.3, 0.9), photo(2, 0, 0.4))]


def stylize(content, style):
    return apply_lut(palette_lut(content, style_colors(style)), content)


def black(picture):
    return float(to_opponent(picture)[:, 0].quantile(0.005))


def chroma(picture):
    return float(to_opponent(picture)[:, 1:].norm(dim=1).quantile(0.98))


@pytest.fixture(scope="module")
def heads():
    torch.manual_seed(0)
    return GlobalHeads(LookNetwork()).eval()


def test_opponent_colors_convert_back():
    picture = photo(0)
    torch.testing.assert_close(from_opponent(to_opponent(picture)), picture)


@pytest.mark.parametrize(("content", "style"), PAIRS)
def test_the_black_point_is_no_higher_than_the_higher_of_both(content, style):
    assert black(stylize(content, style)) <= max(black(content), black(style)) + 0.01


@pytest.mark.parametrize(("content", "style"), PAIRS)
def test_auto_keeps_the_black_point_below_the_middle_of_both(heads, content, style):
    result = apply_lut(heads(content, style).lut, content)
    assert black(result) <= (black(content) + black(style)) / 2 + 0.01


@pytest.mark.parametrize(("content", "style"), PAIRS)
def test_the_palette_keeps_local_contrast(content, style):
    kept, *both = (
        float(measure(to_opponent(x)[:, :1]).local) for x in (stylize(content, style), content, style)
    )
    assert kept >= 0.9 * min(both)


@pytest.mark.parametrize(("content", "style"), PAIRS)
def test_the_result_is_no_more_saturated_than_the_style(content, style):
    assert chroma(stylize(content, style)) <= chroma(style) + 0.02


@pytest.mark.parametrize(("content", "style"), PAIRS)
def test_the_tone_curve_rises(content, style):
    here, there = (measure(to_opponent(x)[:, :1]) for x in (content, style))
    curve = tone_curve(here, there, ToneOptions())
    assert (curve.diff(dim=1) >= 0).all()
    assert curve.min() >= 0
    assert curve.max() <= 1


@pytest.mark.parametrize("match", [0.0, 0.5, 1.0, "auto"])
def test_a_monochrome_style_leaves_no_chroma(heads, match):
    content = photo(1)
    result = apply_lut(heads(content, photo(2, color=0.0), match).lut, content)
    assert to_opponent(result)[:, 1:].abs().max() < 0.01


def test_a_photo_as_its_own_style_hardly_changes(heads):
    content = photo(1)
    for match, limit in ((0.0, 0.1), (1.0, 1.5)):
        result = apply_lut(heads(content, content, match).lut, content)
        assert 255 * (result - content).abs().mean() < limit


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("match", [0.0, 1.0, "auto"])
def test_odd_pictures_give_sane_ones(heads, odd, match):
    for content, style in ((photo(1), ODD[odd]), (ODD[odd], photo(1)), (ODD[odd], ODD[odd])):
        lut = heads(content, style, match).lut
        assert torch.isfinite(lut).all()
        assert lut.min() >= -1e-4
        assert lut.max() <= 1 + 1e-4
        low, high = (apply_lut(lut, (content + step).clamp(0, 1)) for step in (-0.02, 0.02))
        assert (high - low).abs().max() < 6 * 0.04  # no exploded gain at the content's colors
