from __future__ import annotations

import pytest

from export.sizes import SizeError, parse_sizes


def test_sizes_keep_their_order_without_duplicates() -> None:
    assert parse_sizes("512x256, 1920x1080,512x256") == ((512, 256), (1920, 1080))
    assert parse_sizes("") == ()


@pytest.mark.parametrize(
    "text", ["512", "512x", "x256", "-1x5", "512X256", "1080p", "15x100", "100x8193", "1e3x9"]
)
def test_malformed_sizes_are_refused(text: str) -> None:
    with pytest.raises(SizeError):
        parse_sizes(text)
