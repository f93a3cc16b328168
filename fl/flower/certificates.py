"""TLS certificates from a private authority, and the key pair that authenticates an edge."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)
from cryptography.x509.oid import NameOID

from fl.signing import write_secret

LIFETIME = timedelta(days=3650)
LOOPBACK = ("localhost", "127.0.0.1")


def make_certificates(folder: Path, hosts: Sequence[str] = LOOPBACK) -> None:
    """Write ``ca.pem``, ``server.pem`` and ``server.key``; the authority's own key is discarded.

    Args:
        folder: Output folder; created if missing.
        hosts: Host names and addresses of the server.
    """
    folder.mkdir(parents=True, exist_ok=True)
    authority, server = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mvstylizer federation")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
    root = (
        _certificate(issuer, issuer, authority.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority.public_key()), critical=False)
        .sign(authority, hashes.SHA256())
    )
    leaf = _server_certificate(subject, issuer, server.public_key(), authority, hosts)
    key = server.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_secret(folder / "server.key", key)
    (folder / "server.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
    (folder / "ca.pem").write_bytes(root.public_bytes(Encoding.PEM))


def make_node_keys(private: Path, public: Path) -> None:
    """Write a SuperNode's key pair (P-384, OpenSSH format).

    Raises:
        SignatureError: The private key already exists.
    """
    key = ec.generate_private_key(ec.SECP384R1())
    private.parent.mkdir(parents=True, exist_ok=True)
    write_secret(private, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    write_public_key(private, public)


def write_public_key(private: Path, public: Path) -> None:
    """Write the public part of a SuperNode's key, unless the file already has it.

    Raises:
        ValueError: The private key is damaged.
    """
    key = load_ssh_private_key(private.read_bytes(), None).public_key()
    content = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    if not public.is_file() or public.read_bytes() != content:
        public.write_bytes(content)


def _server_certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    authority: ec.EllipticCurvePrivateKey,
    hosts: Sequence[str],
) -> x509.Certificate:
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())
    return (
        _certificate(subject, issuer, key)
        .add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(issuer_id, critical=False)
        .sign(authority, hashes.SHA256())
    )


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
