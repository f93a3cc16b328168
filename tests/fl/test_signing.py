from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from fl.signing import make_keys, sign
from mvstylizer.signature import SignatureError, verify


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    pair = tmp_path / "deep" / "release.key", tmp_path / "release.pub"
    make_keys(*pair)
    return pair


def test_only_the_signed_message_is_verified(keys: tuple[Path, Path], tmp_path: Path) -> None:
    private, public = keys
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    signature = sign(private, b"message")
    verify(public, b"message", signature, "it")
    make_keys(tmp_path / "other.key", tmp_path / "other.pub")
    flipped = bytes([signature[0] ^ 1]) + signature[1:]
    for key, message, given in (
        (public, b"massage", signature),
        (public, b"message", flipped),
        (public, b"message", b""),
        (tmp_path / "other.pub", b"message", signature),
    ):
        with pytest.raises(SignatureError, match="it is not signed by the owner"):
            verify(key, message, given, "it")


def test_a_private_key_is_never_overwritten(keys: tuple[Path, Path]) -> None:
    before = keys[0].read_bytes()
    with pytest.raises(SignatureError, match="already exists"):
        make_keys(*keys)
    assert keys[0].read_bytes() == before


def test_other_files_are_not_accepted_as_keys(keys: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(SignatureError, match="is not a private key"):
        sign(tmp_path / "none", b"")
    with pytest.raises(SignatureError, match="public key"):
        verify(keys[0], b"", b"", "it")
    other = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "ec"
    path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(SignatureError, match="is not an Ed25519 key"):
        sign(path, b"")
    path.write_bytes(other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(SignatureError, match="Ed25519 key"):
        verify(path, b"", b"", "it")
