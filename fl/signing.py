"""Ed25519 keys and signatures: the cloud signs each release; edges verify it with `mvstylizer.signature`."""

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
    """Write a new key pair as PEM; the private one is readable by its owner alone, and never overwritten.

    Raises:
        SignatureError: There is a private key already.
    """
    key = Ed25519PrivateKey.generate()
    private.parent.mkdir(parents=True, exist_ok=True)
    public.parent.mkdir(parents=True, exist_ok=True)
    content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_secret(private, content)
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def write_secret(path: Path, content: bytes) -> None:
    """Write a new file that its owner alone may read.

    Raises:
        SignatureError: There is such a file already.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as err:
        raise SignatureError(f"{path} exists already", "Keep it, or move it away") from err
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)


def sign(private: Path, message: bytes) -> bytes:
    """Return the signature of a message.

    Raises:
        SignatureError: The key is missing or no Ed25519 key.
    """
    try:
        key = load_pem_private_key(private.read_bytes(), password=None)
    except (OSError, ValueError) as err:
        raise SignatureError(f"{private} is no private key: {err}", "Name the cloud's release key") from err
    if not isinstance(key, Ed25519PrivateKey):
        raise SignatureError(f"{private} is no Ed25519 key", "Name the cloud's release key")
    return key.sign(message)
