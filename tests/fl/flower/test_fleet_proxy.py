"""The cloud's public port, in front of a stand-in for the SuperLink; the calls are Flower's own client's."""

from __future__ import annotations

import http.server
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.proto.fleet_pb2 import ActivateNodeRequest, ActivateNodeResponse, RegisterNodeFleetRequest
from flwr.proto.message_pb2 import PushObjectRequest, PushObjectResponse
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from fl.flower import fleet_exchange, fleet_proxy
from fl.flower.certificates import make_certificates, make_node_keys
from fl.flower.fleet_proxy import FleetProxy
from fl.flower.node_auth import NodeKeys
from fl.flower.processes import FederationError, free_port

HOST = "127.0.0.2"  # another address than the SuperLink's
ACTIVATE = "/v1/fleet/activate-node"


class SuperLink(http.server.ThreadingHTTPServer):
    """Confirms every request, and remembers it."""

    daemon_threads = True

    def __init__(self, tls: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls / "server.pem", tls / "server.key")
        self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, *_: object) -> None:
        pass


class Handler(http.server.BaseHTTPRequestHandler):
    server: SuperLink
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append((self.path, headers, body))
        call = self.path.rpartition("/")[2]
        reply = (
            ActivateNodeResponse(node_id=7) if call == "activate-node" else PushObjectResponse(stored=True)
        )
        content = reply.SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class Cloud:
    """A proxy with one admitted edge.

    Args:
        folder: For keys and certificates.
    """

    def __init__(self, folder: Path) -> None:
        self.tls = folder / "tls"
        make_certificates(self.tls, ("localhost", "127.0.0.1", HOST))
        self.edge, self.stranger = _key(folder, "edge"), _key(folder, "stranger")
        self.keys, self.lines = NodeKeys(), list[str]()
        self.keys.replace([self.edge.public_key()])
        self.superlink = SuperLink(self.tls)
        self.proxy = FleetProxy(HOST, 0, self.superlink.server_port, self.tls, self.keys, self.lines.append)

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.proxy.port}"

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.tls / "ca.pem"))

    def flower(self, key: ec.EllipticCurvePrivateKey) -> FleetHttpClient:
        """Return the client of a SuperNode."""
        return FleetHttpClient.from_server_address(
            f"{HOST}:{self.proxy.port}",
            insecure=False,
            root_certificates=(self.tls / "ca.pem").read_bytes(),
            interceptors=[NodeAuthHttpInterceptor(key, key.public_key())],
        )

    def signed(self) -> dict[str, str]:
        """Return the headers of a request that the edge signs."""
        with self.flower(self.edge) as client:
            client.ActivateNode(activation(self.edge))
        headers = self.superlink.requests.pop()[1]
        return {name: value for name, value in headers.items() if name.startswith("flwr-")}

    @contextmanager
    def connection(self) -> Iterator[ssl.SSLSocket]:
        plain = socket.create_connection((HOST, self.proxy.port), 30)
        with plain, self.trust.wrap_socket(plain, server_hostname=HOST) as secured:
            yield secured


def _key(folder: Path, name: str) -> ec.EllipticCurvePrivateKey:
    make_node_keys(folder / name, folder / f"{name}.pub")
    key = load_ssh_private_key((folder / name).read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def activation(key: ec.EllipticCurvePrivateKey) -> ActivateNodeRequest:
    return ActivateNodeRequest(public_key=public_key_to_bytes(key.public_key()), heartbeat_interval=30)


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(tmp_path)
    threading.Thread(target=made.superlink.serve_forever, args=(0.02,), daemon=True).start()
    with made.proxy:
        made.proxy.open()
        yield made
    made.superlink.shutdown()
    made.superlink.server_close()


def test_the_calls_of_an_admitted_edge_are_passed(cloud: Cloud) -> None:
    content = bytes(range(256)) * 20_000  # 5 MB, as Flower's largest objects
    with cloud.flower(cloud.edge) as client:
        assert client.ActivateNode(activation(cloud.edge)).node_id == 7
        for number in range(3):  # on one connection
            reply = client.PushObject(PushObjectRequest(object_id=str(number), object_content=content))
            assert reply.stored
    paths = [path for path, _, _ in cloud.superlink.requests]
    assert paths == [ACTIVATE, *["/v1/fleet/push-object"] * 3]
    assert PushObjectRequest.FromString(cloud.superlink.requests[-1][2]).object_content == content
    assert cloud.lines == []


def test_a_stranger_is_refused(cloud: Cloud) -> None:
    with cloud.flower(cloud.stranger) as client:
        for call, request in (
            (client.ActivateNode, activation(cloud.stranger)),
            (client.RegisterNode, RegisterNodeFleetRequest(public_key=b"x")),
        ):
            with pytest.raises(httpx.HTTPStatusError) as caught:
                call(request)
            assert caught.value.response.status_code in (401, 403)
            assert caught.value.response.json()["detail"]
    assert cloud.superlink.requests == []
    assert len(cloud.lines) == 2
    assert all(line.startswith("Refused 127.0.0.1: ") for line in cloud.lines)


def test_refusals_do_not_fill_the_log(cloud: Cloud) -> None:
    with httpx.Client(verify=cloud.trust) as client:
        for number in range(2 * fleet_proxy.MAX_REPORTS_PER_ADDRESS):
            assert client.post(f"{cloud.url}/{number}{'x' * 5000}").status_code == 403
    assert len(cloud.lines) == fleet_proxy.MAX_REPORTS_PER_ADDRESS
    assert max(map(len, cloud.lines)) < 700


def test_an_edge_is_refused_as_soon_as_its_key_is_gone(cloud: Cloud) -> None:
    with cloud.flower(cloud.edge) as client:
        client.ActivateNode(activation(cloud.edge))
        cloud.keys.replace([])
        with pytest.raises(httpx.HTTPStatusError, match="401"):
            client.ActivateNode(activation(cloud.edge))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/control/start-run"),
        ("POST", "/v1/control/register-node"),
        ("POST", "/v1/runtime/push-messages"),
        ("POST", "/v1/fleet/../control/start-run"),
        ("POST", "/v1/fleet/activate-node/../../control/start-run"),
        ("POST", "/v1/fleet/%2e%2e/control/start-run"),
        ("POST", "//v1/fleet/activate-node"),
        ("POST", "/v1/fleet/register-node"),
        ("POST", "/v1/fleet/activate-node?x=1"),
        ("POST", "https://127.0.0.1/v1/control/start-run"),
        ("GET", "/docs"),
        ("GET", ACTIVATE),
        ("PUT", ACTIVATE),
        ("OPTIONS", "*"),
    ],
)
def test_even_an_edge_reaches_no_other_route(cloud: Cloud, method: str, path: str) -> None:
    request = "".join(f"{name}: {value}\r\n" for name, value in cloud.signed().items())
    reply = answer(
        cloud, f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n{request}\r\n".encode()
    )
    assert reply.startswith(b"HTTP/1.1 403 ")
    assert cloud.superlink.requests == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("Transfer-Encoding: chunked\r\n", b"411"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b""),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", b""),
        ("", b"411"),
        ("Content-Length: -1\r\n", b""),
        (f"Content-Length: {10**30}\r\n", b""),
        (f"Content-Length: {1 << 20}\r\n", b"413"),
        ("X: " + "x" * 100_000 + "\r\n", b""),
        ("X: y\r\n" * 20_000, b""),
    ],
    ids=range(9),
)
def test_a_request_of_unclear_or_large_size_is_refused(cloud: Cloud, headers: str, status: bytes) -> None:
    signed = "".join(f"{name}: {value}\r\n" for name, value in cloud.signed().items())
    reply = answer(cloud, f"POST {ACTIVATE} HTTP/1.1\r\nHost: x\r\n{headers}{signed}\r\n".encode())
    assert reply[9:12] == status if status else not reply.startswith(b"HTTP/1.1 2")
    assert cloud.superlink.requests == []


def test_headers_that_could_change_the_message_are_not_passed(cloud: Cloud) -> None:
    extra = {
        "connection": "flwr-signature",
        "x-forwarded-for": "1",
        "expect": "100-continue",
        "te": "trailers",
    }
    with httpx.Client(verify=cloud.trust, headers={**cloud.signed(), **extra}) as client:
        assert client.post(f"{cloud.url}{ACTIVATE}", content=b"x").status_code == 200
    headers = cloud.superlink.requests[-1][1]
    assert headers["connection"] == "close"
    assert not headers.keys() & {"x-forwarded-for", "expect", "te"}


def test_one_address_cannot_take_all_connections(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_proxy, "MAX_CONNECTIONS_PER_ADDRESS", 2)
    with cloud.connection(), cloud.connection():
        with pytest.raises(OSError, match=r"reset|EOF"), cloud.connection():
            pass
        other = socket.create_connection((HOST, cloud.proxy.port), 30, source_address=("127.0.0.3", 0))
        with other, cloud.trust.wrap_socket(other, server_hostname=HOST) as secured:
            secured.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert secured.recv(100).startswith(b"HTTP/1.1 403")
    assert any("too many connections" in line for line in cloud.lines)
    assert has_room(cloud)


def has_room(cloud: Cloud) -> bool:
    """Return whether an edge can connect, after the proxy has had time to notice who left."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with suppress(httpx.TransportError), cloud.flower(cloud.edge) as client:
            return client.ActivateNode(activation(cloud.edge)).node_id == 7
    return False


def test_silent_connections_are_closed(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_exchange, "FIRST_REQUEST_TIMEOUT_S", 0.2)
    monkeypatch.setattr(fleet_proxy, "HANDSHAKE_TIMEOUT_S", 0.2)
    with cloud.connection() as secured:
        secured.sendall(b"POST /v1/fleet/activate-node HTTP/1.1\r\nHost:")
        assert secured.recv(1) == b""
    with socket.create_connection((HOST, cloud.proxy.port), 30) as plain:
        plain.sendall(b"\x16\x03")  # the beginning of a handshake
        assert plain.recv(1) == b""


@pytest.mark.parametrize(
    "content", [b"\0" * 5000, b"\x16\x03\x01\xff\xff" * 999, b"GET\r\n\r\n"], ids=range(3)
)
def test_garbage_ends_only_its_own_connection(cloud: Cloud, content: bytes) -> None:
    for connect in (cloud.connection, lambda: socket.create_connection((HOST, cloud.proxy.port), 30)):
        with connect() as stream, suppress(ConnectionError):
            stream.sendall(content)
            while stream.recv(4096):  # until the proxy closes
                pass
    assert has_room(cloud)
    assert cloud.superlink.requests != []


def test_an_unexpected_exception_ends_only_its_own_connection(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(headers: object) -> bool:
        raise ZeroDivisionError("by zero")

    with monkeypatch.context() as patch:
        patch.setattr(cloud.keys, "is_signed", fail)
        with cloud.flower(cloud.edge) as client, pytest.raises(httpx.TransportError):
            client.ActivateNode(activation(cloud.edge))
    assert cloud.lines == ["Refused 127.0.0.1: ZeroDivisionError: by zero (reported once)"]
    assert has_room(cloud)


def test_a_superlink_that_is_gone_is_a_bad_gateway(cloud: Cloud) -> None:
    cloud.superlink.shutdown()
    cloud.superlink.server_close()
    with cloud.flower(cloud.edge) as client, pytest.raises(httpx.HTTPStatusError, match="502") as caught:
        client.ActivateNode(activation(cloud.edge))
    assert json.loads(caught.value.response.text)["detail"] == "the SuperLink does not respond"


def test_the_port_answers_only_once_it_is_open(tmp_path: Path) -> None:
    made = Cloud(tmp_path)
    with made.proxy:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, made.proxy.port), 5)
        made.proxy.open()
        socket.create_connection((HOST, made.proxy.port), 5).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, made.proxy.port), 5)
    made.superlink.server_close()


def test_a_port_or_certificate_that_cannot_be_used_is_one_line(cloud: Cloud, tmp_path: Path) -> None:
    for host, port in ((HOST, cloud.proxy.port), ("192.0.2.1", free_port()), ("no such host", 1)):
        with pytest.raises(FederationError, match="Cannot listen on"):
            FleetProxy(host, port, 1, cloud.tls, cloud.keys)
    (cloud.tls / "server.pem").write_bytes(b"half")
    with pytest.raises(FederationError, match="cannot be read"):
        FleetProxy(HOST, 0, 1, cloud.tls, cloud.keys)


def answer(cloud: Cloud, request: bytes) -> bytes:
    """Send bytes and return the reply."""
    reply = b""
    with cloud.connection() as secured:
        try:
            secured.sendall(request)
            while chunk := secured.recv(4096):
                reply += chunk
        except OSError:  # the proxy does not read the rest
            pass
    return reply
