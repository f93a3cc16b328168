from __future__ import annotations

import torch

from training.color_augmentation import Look


def test_a_look_depends_on_color_alone(cat: torch.Tensor) -> None:
    """A color changes in the same way at every position, so the result of a pair of looks is known."""
    look = Look(1, torch.Generator().manual_seed(3))
    shuffled = cat.flatten(2)[:, :, torch.randperm(cat[0, 0].numel())].view_as(cat)
    torch.testing.assert_close(look(cat).flatten(2).sum(2), look(shuffled).flatten(2).sum(2))
    torch.testing.assert_close(look(cat[:, :, 10:20, 10:20]), look(cat)[:, :, 10:20, 10:20])


def test_looks_vary_and_stay_in_range(cat: torch.Tensor) -> None:
    photos = cat.expand(32, -1, -1, -1)[:, :, :32, :32]
    styled = Look(32, torch.Generator().manual_seed(0))(photos)
    assert styled.min() >= 0
    assert styled.max() <= 1
    means = styled.mean(dim=(2, 3))
    assert (means.std(dim=0) > 0.05).all()
    assert (styled - photos).abs().mean() > 0.03


def test_the_same_generator_draws_the_same_look(cat: torch.Tensor) -> None:
    once, again = (Look(1, torch.Generator().manual_seed(7))(cat) for _ in range(2))
    torch.testing.assert_close(once, again)
