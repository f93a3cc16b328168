"""Checks TLS files before gRPC reads them, which would only report that it cannot listen."""

from __future__ import annotations

import contextlib
import logging
import ssl
import time
from pathlib import Path

from mvstylizer.errors import MVStylizerError

_LOG = logging.getLogger(__name__)
_DAY_S = 86400.0
_WARN_DAYS = 14
_VERIFY_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED


class TlsFileError(MVStylizerError):
    """A TLS file of the server cannot be used."""


def check_tls_files(certificate: Path, key: Path, client_ca: Path | None) -> None:
    """Check that a server can use its TLS files, and log a certificate that has expired or soon will.

    Args:
        certificate: Certificate chain (PEM).
        key: Its private key (PEM), without a passphrase.
        client_ca: Authority of client certificates (PEM), or None.

    Raises:
        TlsFileError: A file cannot be read, is not PEM, or the key is not the certificate's.
    """
    for path in (certificate, key, client_ca):
        if path is not None:
            _check_pem(path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        server.load_cert_chain(certificate, key, password=lambda: "")
    except (ssl.SSLError, OSError, ValueError) as err:
        raise TlsFileError(
            f"{certificate} and {key} cannot be used together ({_reason(err)})",
            "Pass a certificate (PEM) and its own private key without a passphrase",
        ) from err
    if client_ca is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(client_ca)
        except (ssl.SSLError, OSError) as err:
            raise TlsFileError(
                f"{client_ca} contains no usable certificate ({_reason(err)})", "Pass a CA certificate (PEM)"
            ) from err
    _warn_of_expiry(certificate, server)


def _check_pem(path: Path) -> None:
    try:
        data = path.read_bytes()
    except OSError as err:
        raise TlsFileError(f"{path}: {err.strerror}", "Pass a readable PEM file") from err
    if b"-----BEGIN " not in data:
        raise TlsFileError(f"{path} is not a PEM file", "Convert it with openssl")


def _warn_of_expiry(certificate: Path, server: ssl.SSLContext) -> None:
    """Log when a certificate ends, if that is soon: phones refuse the edge from then on."""
    left_s = _seconds_left(certificate, server)
    if left_s <= 0:
        _LOG.warning("%s has expired: clients refuse it; install a new certificate", certificate)
    elif left_s < _WARN_DAYS * _DAY_S:
        _LOG.warning("%s expires in %.1f days: install a new certificate", certificate, left_s / _DAY_S)


def _seconds_left(certificate: Path, server: ssl.SSLContext) -> float:
    """Return how long the first certificate of a file is valid; infinity if that is unknown.

    The standard library shows a certificate's fields only to a client that has verified it, so this is a
    handshake in memory, with the certificate as its own authority.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.load_verify_locations(certificate)
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)
    try:
        for _ in range(4):
            for end in ends:
                with contextlib.suppress(ssl.SSLWantReadError):
                    end.do_handshake()
        fields = ends[0].getpeercert() or {}
    except ssl.SSLCertVerificationError as err:
        return 0.0 if err.verify_code == _VERIFY_EXPIRED else float("inf")
    except ssl.SSLError:  # the server asks for a certificate, for example
        return float("inf")
    return ssl.cert_time_to_seconds(str(fields["notAfter"])) - time.time() if fields else float("inf")


def _reason(err: Exception) -> str:
    reason = getattr(err, "reason", None) or err
    return str(reason).lower().replace("_", " ")
