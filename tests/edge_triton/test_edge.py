"""The whole edge: who may come in, what it says about itself, and how it heals and ends."""

from __future__ import annotations

import datetime
import ipaddress
import json
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np
import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge_triton.client.client import EdgeClient, EdgeRefusedError, EdgeTlsError, EdgeUnavailableError, Tls
from edge_triton.edge import Edge, EdgeConfigError, EdgeOptions
from edge_triton.gateway.admission import TokenFileError
from edge_triton.triton.bundled import BundledTriton
from edge_triton.triton.startup_errors import PortTakenError, ServerDiedError
from mvstylizer.bundle import Bundle, BundleError

pytestmark = pytest.mark.server

StartEdge = Callable[..., Any]
Kin = Callable[[str], set[psutil.Process]]
GREY = np.full((8, 8, 3), 100, np.uint8)
CODE = np.array([0.2, 0.5, 0.8], np.float32)
TOKEN = "0123456789abcdef-phone-1"


class Pems(NamedTuple):
    ca: Path
    cert: Path
    key: Path
    client_cert: Path
    client_key: Path


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Pems:
    """A certificate authority, a server on loopback and a client."""
    folder = tmp_path_factory.mktemp("pems")
    now = datetime.datetime.now(datetime.UTC)
    ca_key = ec.generate_private_key(ec.SECP256R1())

    def write(name: str, key: ec.EllipticCurvePrivateKey, is_ca: bool) -> tuple[Path, Path]:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
            )
            .sign(ca_key, hashes.SHA256())
        )
        paths = folder / f"{name}.crt", folder / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return paths

    ca, _ = write("ca", ca_key, True)
    server = write("server", ec.generate_private_key(ec.SECP256R1()), False)
    client = write("client", ec.generate_private_key(ec.SECP256R1()), False)
    return Pems(ca, *server, *client)


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text(f"# who, what\nphone-1 {TOKEN}  # the first\n\nphone-2 fedcba9876543210\n")
    return path


def stylizes(address: str, **options: Any) -> bool:
    with EdgeClient(address, patience_s=0, timeout_s=120, **options) as client:
        return client.stylize(GREY, CODE).image is not None


def test_tls_and_tokens(start_edge: StartEdge, bundle: Bundle, pems: Pems, token_file: Path) -> None:
    options = {"tls_cert": pems.cert, "tls_key": pems.key, "token_file": token_file}
    with start_edge(bundle, **options) as running:
        address = running.edge.address
        assert stylizes(address, tls=Tls(pems.ca), token=TOKEN)
        for token in ("", "wrong", TOKEN[:-1], TOKEN + "0", TOKEN.upper()):
            with pytest.raises(EdgeRefusedError, match="a valid token is needed"):
                stylizes(address, tls=Tls(pems.ca), token=token)
        with pytest.raises(EdgeUnavailableError):
            stylizes(address, token=TOKEN)  # in the clear
        with pytest.raises(EdgeUnavailableError):
            stylizes(address, tls=Tls(pems.client_cert), token=TOKEN)  # another authority
        assert stylizes(address, tls=Tls(pems.ca), token="fedcba9876543210")


def test_a_token_is_withdrawn_while_the_edge_serves(
    start_edge: StartEdge, bundle: Bundle, token_file: Path
) -> None:
    with start_edge(bundle, token_file=token_file) as running:
        address = running.edge.address
        assert stylizes(address, token=TOKEN)
        token_file.write_text("not a good file")
        time.sleep(1.2)
        assert stylizes(address, token=TOKEN)  # a half-written file locks nobody out
        token_file.write_text("phone-2 fedcba9876543210\n")
        time.sleep(1.2)
        assert stylizes(address, token="fedcba9876543210")
        with pytest.raises(EdgeRefusedError):
            stylizes(address, token=TOKEN)


def test_a_body_without_a_token_is_not_read(start_edge: StartEdge, bundle: Bundle, token_file: Path) -> None:
    def never() -> Iterator[bytes]:
        time.sleep(30)
        yield b""

    with (
        start_edge(bundle, token_file=token_file) as running,
        grpc.insecure_channel(running.edge.address) as channel,
    ):
        call = channel.stream_unary("/inference.GRPCInferenceService/ModelInfer").future(never())
        assert call.code() == grpc.StatusCode.UNAUTHENTICATED


def test_mutual_tls(start_edge: StartEdge, bundle: Bundle, pems: Pems) -> None:
    options = {"tls_cert": pems.cert, "tls_key": pems.key, "client_ca": pems.ca}
    with start_edge(bundle, **options) as running:
        address = running.edge.address
        assert stylizes(address, tls=Tls(pems.ca, pems.client_cert, pems.client_key))
        with pytest.raises(EdgeUnavailableError):
            stylizes(address, tls=Tls(pems.ca))


def test_client_names_a_tls_file_that_is_missing(tmp_path: Path) -> None:
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
def test_public_address_without_protection_is_refused(
    bundle: Bundle, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(EdgeConfigError, match=named):
        Edge(bundle.path, EdgeOptions(**options))


def test_public_address_with_protection_or_on_demand_is_taken(
    start_edge: StartEdge, bundle: Bundle, pems: Pems, token_file: Path
) -> None:
    with start_edge(bundle, host="0.0.0.0", insecure=True) as running:
        assert stylizes(running.edge.address)
    options = {"tls_cert": pems.cert, "tls_key": pems.key, "token_file": token_file}
    with start_edge(bundle, host="0.0.0.0", **options) as running:
        assert stylizes(running.edge.address, tls=Tls(pems.ca), token=TOKEN)


@pytest.mark.parametrize("text", ["", "# nothing\n", "phone-1\n", "phone-1 short\n", "a b c\n", "\xff\n"])
def test_bad_token_files_are_named(bundle: Bundle, tmp_path: Path, text: str) -> None:
    (tmp_path / "tokens").write_text(text, encoding="latin-1")
    with pytest.raises(TokenFileError, match="tokens"):
        Edge(bundle.path, EdgeOptions(token_file=tmp_path / "tokens"))


def test_bad_pem_files_are_named(start_edge: StartEdge, bundle: Bundle, pems: Pems, tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("nothing")
    for key in (tmp_path / "no.pem", tmp_path / "missing.pem"):
        with (
            pytest.raises(EdgeConfigError, match=key.name),
            start_edge(bundle, tls_cert=pems.cert, tls_key=key),
        ):
            pass


def test_taken_ports_are_named(start_edge: StartEdge, bundle: Bundle, edge: Edge) -> None:
    for name, address in {"port": edge.address, "health_port": edge.health_address}.items():
        port = int(address.rpartition(":")[2])
        with pytest.raises(PortTakenError, match=f"Port {port}"), start_edge(bundle, **{name: port}):
            pass


def get(edge: Edge, path: str, method: str = "GET") -> tuple[int, str]:
    call = urllib.request.Request(f"http://{edge.health_address}{path}", method=method)
    try:
        with urllib.request.urlopen(call, timeout=60) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as err:
        return err.code, err.read().decode()


def test_health_and_metrics(start_edge: StartEdge, bundle: Bundle) -> None:
    with start_edge(bundle) as running:
        edge = running.edge
        status, text = get(edge, "/healthz")
        assert status == 200
        assert {"status": "serving", "version": 1}.items() <= json.loads(text).items()
        assert get(edge, "/healthz", "HEAD") == (200, "")
        assert get(edge, "/etc/passwd")[0] == 404
        assert get(edge, "/healthz", "POST")[0] == 405
        assert stylizes(edge.address)
        with pytest.raises(EdgeRefusedError), EdgeClient(edge.address) as client:
            client.stylize(GREY, CODE, r=-1)
        lines = get(edge, "/metrics")[1].splitlines()
        names = {"method": "ModelInfer", "model": "stylizer"}
        labels = ",".join(f'{key}="{value}"' for key, value in names.items())
        assert f'mvstylizer_requests_total{{{labels},code="OK"}} 1' in lines
        assert f'mvstylizer_requests_total{{{labels},code="INVALID_ARGUMENT"}} 1' in lines
        assert 'mvstylizer_request_seconds_count{model="stylizer"} 1' in lines
        assert "mvstylizer_up 1" in lines
        assert any(line.startswith('nv_inference_request_success{model="stylizer"') for line in lines)


def test_health_door_survives_nonsense(edge: Edge) -> None:
    host, _, port = edge.health_address.rpartition(":")
    for data in (b"\r\n\r\n", b"\0" * 100_000, b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 5000):
        with socket.create_connection((host, int(port))) as connection:
            connection.settimeout(120)
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass
            except ConnectionError:
                pass
    assert get(edge, "/healthz")[0] == 200


class Traffic:
    """A client that asks all the time, and retries."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.done = 0
        self.failures: list[Exception] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Traffic:
        self._thread.start()
        self.wait_for(3)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def wait_for(self, more: int) -> None:
        """Wait until so many more frames have come back, or one has failed."""
        target = self.done + more
        while self.done < target and not self.failures:
            time.sleep(0.01)

    def _run(self) -> None:
        frame = np.tile(GREY, (40, 40, 1))
        with EdgeClient(self.address, patience_s=240, timeout_s=120) as client:
            while not self._over.is_set() and not self.failures:
                try:
                    image = client.stylize(frame, CODE).image
                    assert image is not None
                    assert image.shape == frame.shape
                    self.done += 1
                except Exception as err:
                    self.failures.append(err)


@pytest.mark.parametrize("victim_name", ["tritonserver", "triton_python"])
def test_a_dead_server_and_a_dead_stub_are_healed_without_a_lost_frame(
    start_edge: StartEdge, bundle: Bundle, kin: Kin, victim_name: str
) -> None:
    before = kin(victim_name)
    with start_edge(bundle) as running:
        with Traffic(running.edge.address) as traffic:
            for process in kin(victim_name) - before:
                process.kill()
            traffic.wait_for(20)
        assert traffic.failures == []
        metrics = running.edge.metrics.text()
        assert "mvstylizer_restarts_total" in metrics
        assert get(running.edge, "/healthz")[0] == 200


def test_an_idle_edge_heals_before_anyone_asks(start_edge: StartEdge, bundle: Bundle, kin: Kin) -> None:
    before = kin("triton_python")
    with start_edge(bundle) as running:
        (victim, *_) = kin("triton_python") - before
        victim.kill()
        running.until(lambda: "restarts_total" in running.edge.metrics.text())
        running.until(lambda: get(running.edge, "/healthz")[0] == 200)
        assert stylizes(running.edge.address)


def test_health_tells_the_truth_and_a_crash_loop_ends(
    start_edge: StartEdge, bundle: Bundle, kin: Kin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_triton.lifecycle.supervisor._MAX_PAUSE_S", 0.1)
    before = kin("tritonserver")
    with start_edge(bundle) as running:
        monkeypatch.setattr(BundledTriton, "command", lambda *_, **__: ["false"])
        for process in kin("tritonserver") - before:
            process.kill()
        while not running.watch.done():
            time.sleep(0.05)
        with pytest.raises(ServerDiedError, match="more than 5 times"):
            running.watch.result()
        with pytest.raises(EdgeUnavailableError):
            stylizes(running.edge.address)
        assert get(running.edge, "/healthz")[0] == 503


def test_a_bundle_that_was_damaged_meanwhile_is_named(
    start_edge: StartEdge, new_bundle: Bundle, kin: Kin
) -> None:
    before = kin("tritonserver")
    with start_edge(new_bundle) as running:
        (new_bundle.path / "stylizer.onnx").write_bytes(b"no model")
        for process in kin("tritonserver") - before:
            process.kill()
        while not running.watch.done():
            time.sleep(0.05)
        with pytest.raises(BundleError, match=r"stylizer\.onnx"):
            running.watch.result()


DRAIN = """
serve(bundle, EdgeOptions(port=0),
      on_ready=lambda edge: print(edge.address, edge.health_address, flush=True))
"""


def came_in(health: str) -> float:
    """Return how many requests are inside the edge or were answered."""
    with urllib.request.urlopen(f"http://{health}/metrics", timeout=60) as reply:
        lines = reply.read().decode().splitlines()
    counted = ("mvstylizer_requests_inside", "mvstylizer_requests_total")
    return sum(float(line.split()[-1]) for line in lines if line.startswith(counted))


def test_sigterm_answers_what_is_inside(victim: Callable[[str], Any]) -> None:
    program = victim(DRAIN)
    address, health = program.address.split()
    answers: list[bool] = []
    frames = [np.zeros((400, 3000 + n, 3), np.uint8) for n in range(4)]

    def ask(frame: np.ndarray) -> None:
        with EdgeClient(address, patience_s=0, timeout_s=120) as client:
            image = client.stylize(frame, CODE).image
            answers.append(image is not None and image.shape == frame.shape)

    threads = [threading.Thread(target=ask, args=(frame,)) for frame in frames]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 120
    while came_in(health) < len(frames):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert program.end(signal.SIGTERM) == 0
    for thread in threads:
        thread.join()
    assert answers == [True] * len(frames)
    assert program.traces() == []
