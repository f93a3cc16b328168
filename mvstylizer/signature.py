"""Ed25519 signatures: an edge trusts one public key; `fl.signing` holds the half that signs."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from mvstylizer.errors import MVStylizerError


class SignatureError(MVStylizerError):
    """A key cannot be read, or a signature is not that of the trusted key."""


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Read a public key.

    Args:
        path: PEM file.

    Raises:
        SignatureError: No such file, or no Ed25519 key.
    """
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as err:
        raise SignatureError(f"{path} is no public key: {err}", "Copy it from the cloud again") from err
    if not isinstance(key, Ed25519PublicKey):
        raise SignatureError(f"{path} is no Ed25519 key", "Copy it from the cloud again")
    return key


def verify(public: Path, message: bytes, signature: bytes, what: str) -> None:
    """Refuse a message that the key's owner has not signed.

    Args:
        public: The trusted key.
        message: What was signed.
        signature: 64 bytes.
        what: Names the message in the error.

    Raises:
        SignatureError: Another key's signature, another message, or no key.
    """
    try:
        read_public_key(public).verify(signature, message)
    except InvalidSignature as err:
        raise SignatureError(
            f"{what} is not signed by the owner of {public}", "Do not use it; ask who runs the cloud"
        ) from err
