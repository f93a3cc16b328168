"""Verifies Ed25519 signatures: an edge trusts one public key. `fl.signing` creates keys and signatures."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from mvstylizer.errors import MVStylizerError


class SignatureError(MVStylizerError):
    """A key cannot be read, or a signature does not match the trusted key."""


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Read a public key.

    Args:
        path: PEM file.

    Raises:
        SignatureError: The file cannot be read, or is not an Ed25519 public key.
    """
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as err:
        raise SignatureError(f"{path} is not a public key: {err}", "Copy it from the cloud again") from err
    if not isinstance(key, Ed25519PublicKey):
        raise SignatureError(f"{path} is not an Ed25519 key", "Copy it from the cloud again")
    return key


def verify(public: Path, message: bytes, signature: bytes, name: str) -> None:
    """Check that a message was signed with a key.

    Args:
        public: File of the trusted public key (PEM).
        message: Signed bytes.
        signature: Signature, 64 bytes.
        name: Name of the message in the error.

    Raises:
        SignatureError: The signature does not match the key and the message, or the key cannot be read.
    """
    try:
        read_public_key(public).verify(signature, message)
    except InvalidSignature as err:
        raise SignatureError(
            f"{name} is not signed by the owner of {public}",
            "Do not use it; contact the operator of the cloud",
        ) from err
