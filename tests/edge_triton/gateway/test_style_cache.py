"""The style cache against a simple model."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_triton.gateway.style_cache import ENTRY_BYTES, StyleCache, photo_key

CAPACITY = 6 * ENTRY_BYTES
PHOTOS = [np.full((1, 2, 3 + n, 3), n, np.uint8) for n in range(12)]


def code_of(photo: int, version: int) -> bytes:
    return f"auto{photo} by {version}".encode()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 11), st.integers(1, 3)), max_size=40))
def test_codes_are_found_and_memory_is_bounded(steps: list[tuple[int, int]]) -> None:
    styles = StyleCache(CAPACITY)
    encoded: set[tuple[int, int]] = set()
    for photo, version in steps:
        key = photo_key(PHOTOS[photo])
        found = styles.code("ann", key, version)
        assert found in (None, code_of(photo, version))
        assert found is None or (photo, version) in encoded
        styles.add("ann", key, PHOTOS[photo], version, code_of(photo, version))
        encoded.add((photo, version))
        assert styles.code("ann", key, version) == code_of(photo, version)
        assert styles.translate("ann", code_of(photo, version), version) == code_of(photo, version)
        other = styles.translate("ann", code_of(photo, version), version + 1)
        assert other is PHOTOS[photo] or other == code_of(photo, version + 1)
    kept = [p for p in PHOTOS if any(styles.code("ann", photo_key(p), v) for v in (1, 2, 3))]
    assert len(styles) == len(kept)
    assert sum(photo.nbytes + ENTRY_BYTES for photo in kept) == styles.nbytes <= CAPACITY


def test_a_code_keeps_the_match_that_the_phone_set() -> None:
    styles = StyleCache(CAPACITY)
    key, own = photo_key(PHOTOS[0]), code_of(0, 1)
    asked = b"look" + own[4:]
    styles.add("ann", key, PHOTOS[0], 1, own)
    assert styles.translate("ann", asked, 1) == asked
    assert styles.translate("ann", asked, 2) is PHOTOS[0]
    styles.add("ann", key, PHOTOS[0], 2, code_of(0, 2))
    assert styles.translate("ann", asked, 2) == b"look" + code_of(0, 2)[4:]
    assert styles.adopted("ann", asked, code_of(0, 2)) == b"look" + code_of(0, 2)[4:]
    assert styles.adopted("ann", own, code_of(0, 2)) == code_of(0, 2)


def test_photo_larger_than_the_cache_is_not_stored() -> None:
    styles = StyleCache(10)
    styles.add("ann", photo_key(PHOTOS[0]), PHOTOS[0], 1, b"code")
    assert len(styles) == 0
    assert styles.translate("ann", b"code", 2) == b"code"


def test_photo_key_depends_on_the_shape() -> None:
    assert photo_key(np.zeros((1, 2, 3, 3), np.uint8)) != photo_key(np.zeros((1, 3, 2, 3), np.uint8))


def test_codes_of_old_versions_are_dropped() -> None:
    styles = StyleCache(CAPACITY)
    key = photo_key(PHOTOS[0])
    for version in range(1, 30):
        styles.add("ann", key, PHOTOS[0], version, code_of(0, version))
    assert styles.code("ann", key, 29) == code_of(0, 29)
    assert styles.code("ann", key, 1) is None
    assert styles.translate("ann", code_of(0, 1), 29) == code_of(0, 1)
    assert styles.translate("ann", code_of(0, 28), 29) == code_of(0, 29)


def test_entries_belong_to_a_client_and_leave_with_it() -> None:
    styles = StyleCache(CAPACITY)
    key = photo_key(PHOTOS[0])
    for client in ("ann", "bob"):
        assert styles.code(client, key, 1) is None
        styles.add(client, key, PHOTOS[0], 1, code_of(0, 1))
    styles.forget("ann")
    assert styles.code("ann", key, 1) is None
    assert styles.translate("ann", code_of(0, 1), 2) == code_of(0, 1)
    assert styles.translate("bob", code_of(0, 1), 2) is PHOTOS[0]
    styles.forget("bob")
    assert (len(styles), styles.nbytes) == (0, 0)


def test_tiny_photos_count_what_they_take() -> None:
    styles = StyleCache(CAPACITY)
    for n in range(1000):
        styles.add("ann", str(n).encode(), np.zeros((1, 1, 1, 3), np.uint8), 1, b"code%d" % n)
    assert len(styles) == CAPACITY // (ENTRY_BYTES + 3)
