"""Who sends a Fleet call: SuperNodes sign the time with their key, and the cloud knows the admitted keys."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Iterable, Mapping
from datetime import datetime

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_HEADER, TIMESTAMP_TOLERANCE
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.date import now
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, uses_nist_ec_curve, verify_signature

PublicKey = ec.EllipticCurvePublicKey

_KEY, _SIGNATURE, _TIME = (
    name.encode() for name in (FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER, TIMESTAMP_HEADER)
)


def read_node_key(content: bytes) -> PublicKey:
    """Return the public key in the content of an edge's ``.pub`` file.

    Raises:
        ValueError: It is damaged, incomplete or of another kind.
    """
    try:
        key = load_ssh_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as err:
        raise ValueError("It is incomplete or not a public key") from err
    if not isinstance(key, ec.EllipticCurvePublicKey) or not uses_nist_ec_curve(key):
        raise ValueError("It is not an edge's public key")
    return key


class NodeKeys:
    """The keys of the admitted edges; may be replaced in one thread while another one reads."""

    def __init__(self) -> None:
        self._keys: Mapping[bytes, PublicKey] = {}

    def replace(self, keys: Iterable[PublicKey]) -> None:
        """Admit exactly these keys."""
        self._keys = {public_key_to_bytes(key): key for key in keys}

    def is_signed(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Return whether an admitted edge signed a request.

        Args:
            headers: Names in lowercase, and values. Flower's SuperLink checks the same three.
        """
        values = dict(headers)
        try:
            key = self._keys.get(b64decode(values[_KEY], validate=True))
            signature = b64decode(values[_SIGNATURE], validate=True)
            age = (now() - datetime.fromisoformat(values[_TIME].decode("ascii"))).total_seconds()
        except (KeyError, ValueError, TypeError, binascii.Error):
            return False
        is_current = -SYSTEM_TIME_TOLERANCE < age < TIMESTAMP_TOLERANCE + SYSTEM_TIME_TOLERANCE
        return key is not None and is_current and verify_signature(key, values[_TIME], signature)
