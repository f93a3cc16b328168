"""Ed25519 keys and signatures: the cloud signs releases; edges verify them with `mvstylizer.signature`."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from mvstylizer.signature import SignatureError


def make_keys(private: Path, public: Path) -> None:
    """Write a new key pair as PEM; the private key is only readable by its owner and never overwritten.

    Raises:
        SignatureError: The private key already exists.
    """
    key = Ed25519PrivateKey.generate()
    private.parent.mkdir(parents=True, exist_ok=True)
    public.parent.mkdir(parents=True, exist_ok=True)
    content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_secret(private, content)
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def write_secret(path: Path, content: bytes) -> None:
    """Write a new file that only its owner can read.

    Raises:
        SignatureError: The file already exists.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as err:
        raise SignatureError(f"{path} already exists", "Keep it, or move it elsewhere") from err
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)


def sign(private: Path, message: bytes) -> bytes:
    """Return the signature of a message.

    Raises:
        SignatureError: The key is missing or not an Ed25519 key.
    """
    try:
        key = load_pem_private_key(private.read_bytes(), password=None)
    except (OSError, ValueError) as err:
        raise SignatureError(
            f"{private} is not a private key: {err}", "Pass the cloud's release key"
        ) from err
    if not isinstance(key, Ed25519PrivateKey):
        raise SignatureError(f"{private} is not an Ed25519 key", "Pass the cloud's release key")
    return key.sign(message)
