"""TLS, tokens, client certificates, and the options that are refused without them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from edge_triton.client.client import EdgeClient, EdgeRefusedError, EdgeTlsError, EdgeUnavailableError, Tls
from edge_triton.edge import Edge, EdgeConfigError, EdgeOptions
from edge_triton.gateway.admission import TokenFileError
from edge_triton.gateway.guard import Limits
from edge_triton.tls_files import TlsFileError
from mvstylizer.bundle import Bundle
from tests.edge_triton.pems import Pems, make_pems
from tests.edge_triton.running_edge import stylizes

pytestmark = pytest.mark.server
StartEdge = Callable[..., Any]
GRAY = np.full((8, 8, 3), 100, np.uint8)
CODE = np.array([0.2, 0.5, 0.8], np.float32)
TOKEN = "0123456789abcdef-phone-1"


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text(f"# name, token\nphone-1 {TOKEN}  # the first\n\nphone-2 fedcba9876543210\n")
    return path


def test_tls_and_tokens(start_edge: StartEdge, bundle: Bundle, pems: Pems, token_file: Path) -> None:
    options = {"tls_cert": pems.cert, "tls_key": pems.key, "token_file": token_file}
    with start_edge(bundle, **options) as running:
        address = running.edge.address
        assert stylizes(address, tls=Tls(pems.ca), token=TOKEN)
        for token in ("", "wrong", TOKEN[:-1], TOKEN + "0", TOKEN.upper()):
            with pytest.raises(EdgeRefusedError, match="a valid token is needed"):
                stylizes(address, tls=Tls(pems.ca), token=token)
        with pytest.raises(EdgeUnavailableError):
            stylizes(address, token=TOKEN)  # plain text
        with pytest.raises(EdgeUnavailableError):
            stylizes(address, tls=Tls(pems.client_cert), token=TOKEN)  # another authority
        assert stylizes(address, tls=Tls(pems.ca), token="fedcba9876543210")


def test_tokens_are_revoked_and_added_without_a_restart(
    start_edge: StartEdge, bundle: Bundle, token_file: Path
) -> None:
    with start_edge(bundle, token_file=token_file) as running:
        address = running.edge.address
        assert stylizes(address, token=TOKEN)
        token_file.write_text("phone-2 fedcba9876543210\n")
        time.sleep(1.2)
        assert stylizes(address, token="fedcba9876543210")
        with pytest.raises(EdgeRefusedError):
            stylizes(address, token=TOKEN)


@pytest.mark.parametrize("left", ["", "# all revoked\n", "phone-1 short\nphone-2 fedcba9876543210\n"])
def test_a_removed_token_never_stays_valid(
    start_edge: StartEdge, bundle: Bundle, token_file: Path, left: str, caplog: pytest.LogCaptureFixture
) -> None:
    with start_edge(bundle, token_file=token_file) as running:
        assert stylizes(running.edge.address, token=TOKEN)
        token_file.write_text(left)
        time.sleep(1.2)
        with pytest.raises(EdgeRefusedError, match="a valid token is needed"):
            stylizes(running.edge.address, token=TOKEN)
        if "phone-2" in left:
            assert stylizes(running.edge.address, token="fedcba9876543210")
            assert "line 1: expected NAME TOKEN" in caplog.text
        else:
            assert "contains no token" in caplog.text


def test_a_damaged_token_file_is_logged_at_each_check(
    start_edge: StartEdge, bundle: Bundle, token_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with start_edge(bundle, token_file=token_file) as running:
        good = token_file.read_bytes()
        for damage in (lambda: token_file.write_bytes(b"\xff\xfe\x00"), token_file.unlink):
            damage()
            for _ in range(2):
                caplog.clear()
                time.sleep(1.2)
                assert stylizes(running.edge.address, token=TOKEN)
                assert "the last good tokens stay valid" in caplog.text
        token_file.write_bytes(good)
        time.sleep(1.2)
        assert stylizes(running.edge.address, token=TOKEN)


def test_body_without_token_is_not_read(start_edge: StartEdge, bundle: Bundle, token_file: Path) -> None:
    def never() -> Iterator[bytes]:
        time.sleep(30)
        yield b""

    with (
        start_edge(bundle, token_file=token_file) as running,
        grpc.insecure_channel(running.edge.address) as channel,
    ):
        call = channel.stream_unary("/inference.GRPCInferenceService/ModelInfer").future(never())
        assert call.code() == grpc.StatusCode.UNAUTHENTICATED


def test_client_ca_requires_a_client_certificate(start_edge: StartEdge, bundle: Bundle, pems: Pems) -> None:
    options = {"tls_cert": pems.cert, "tls_key": pems.key, "client_ca": pems.ca}
    with start_edge(bundle, **options) as running:
        address = running.edge.address
        assert stylizes(address, tls=Tls(pems.ca, pems.client_cert, pems.client_key))
        with pytest.raises(EdgeUnavailableError):
            stylizes(address, tls=Tls(pems.ca))


def test_clients_with_certificates_have_their_own_limits(
    start_edge: StartEdge, bundle: Bundle, pems: Pems, tmp_path: Path
) -> None:
    other = make_pems(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(pems.ca.read_bytes() + other.ca.read_bytes())
    options = {
        "tls_cert": pems.cert,
        "tls_key": pems.key,
        "client_ca": both,
        "limits": Limits(rate=0.001, burst=1),
    }
    with start_edge(bundle, **options) as running:
        address = running.edge.address
        ours = Tls(pems.ca, pems.client_cert, pems.client_key)
        server_as_client = Tls(pems.ca, pems.cert, pems.key)
        assert stylizes(address, tls=ours)
        with pytest.raises(EdgeUnavailableError, match="too many requests from this client"):
            stylizes(address, tls=ours)
        assert stylizes(address, tls=server_as_client)  # from the same address


def test_client_error_names_a_missing_tls_file(tmp_path: Path) -> None:
    with pytest.raises(EdgeTlsError, match=r"nothing\.pem"):
        EdgeClient("127.0.0.1:1", tls=Tls(tmp_path / "nothing.pem"))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"host": "0.0.0.0"}, "needs TLS"),
        ({"host": "::"}, "needs TLS"),
        ({"host": "192.0.2.1", "token_file": Path("t")}, "needs TLS"),
        ({"host": "edge.example.org", "tls_cert": Path("c"), "tls_key": Path("k")}, "needs TLS"),
        ({"tls_cert": Path("c")}, "its key"),
        ({"client_ca": Path("c")}, "client CA"),
    ],
)
def test_public_address_needs_tls_and_authentication(
    bundle: Bundle, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(EdgeConfigError, match=named):
        Edge(bundle.path, EdgeOptions(**options))


def test_public_address_works_with_tls_and_tokens_or_insecure(
    start_edge: StartEdge, bundle: Bundle, pems: Pems, token_file: Path
) -> None:
    with start_edge(bundle, host="0.0.0.0", insecure=True) as running:
        assert stylizes(running.edge.address)
    options = {"tls_cert": pems.cert, "tls_key": pems.key, "token_file": token_file}
    with start_edge(bundle, host="0.0.0.0", **options) as running:
        assert stylizes(running.edge.address, tls=Tls(pems.ca), token=TOKEN)


@pytest.mark.parametrize("text", ["", "# nothing\n", "phone-1\n", "phone-1 short\n", "a b c\n", "\xff\n"])
def test_error_names_a_bad_token_file(bundle: Bundle, tmp_path: Path, text: str) -> None:
    (tmp_path / "tokens").write_text(text, encoding="latin-1")
    with pytest.raises(TokenFileError, match="tokens"):
        Edge(bundle.path, EdgeOptions(token_file=tmp_path / "tokens"))


def test_error_names_a_bad_pem_file(
    start_edge: StartEdge, bundle: Bundle, pems: Pems, tmp_path: Path
) -> None:
    (tmp_path / "no.pem").write_text("nothing")
    for key in (tmp_path / "no.pem", tmp_path / "missing.pem"):
        with (
            pytest.raises(TlsFileError, match=key.name),
            start_edge(bundle, tls_cert=pems.cert, tls_key=key),
        ):
            pass
