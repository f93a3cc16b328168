"""The cloud's folder: which keys are admitted, who may use it, and what is in it after a crash."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fl.flower import admission as admission_module
from fl.flower.admission import Admission
from fl.flower.certificates import make_node_keys
from fl.flower.cloud import CloudFolder, run_cloud
from fl.flower.edge import EdgeFolder, run_edge
from fl.flower.folder_lock import folder_lock
from fl.flower.processes import FederationError
from fl.flower.submit import submit
from tests.fl.flower.test_flower import CONFIG
from training.checkpoint import CheckpointError


class Cloud:
    """An admission whose SuperLink is a list.

    Args:
        folder: Parent of the folder with the keys.
    """

    def __init__(self, folder: Path) -> None:
        self.edges = folder / "edges"
        self.edges.mkdir()
        self.lines: list[str] = []
        self.registered: list[tuple[str, bytes]] = []
        self.reason = ""
        self.admission = Admission(self.edges, self._register, self.lines.append)

    def _register(self, edge: str, key: ec.EllipticCurvePublicKey) -> str:
        self.registered.append((edge, openssh(key)))
        return self.reason

    def scan(self, times: int = 3) -> list[str]:
        """Return the lines that the scans report."""
        before = len(self.lines)
        for _ in range(times):
            self.admission.scan()
        return self.lines[before:]


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make_key(tmp_path_factory.mktemp("key"))


def make_key(folder: Path) -> bytes:
    make_node_keys(folder / "node.key", folder / "node.pub")
    return (folder / "node.pub").read_bytes()


def openssh(key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


def test_a_key_is_registered_once(cloud: Cloud, key: bytes) -> None:
    (cloud.edges / "paris.pub").write_bytes(key)
    assert cloud.scan() == ["Edge paris admitted"]
    assert cloud.registered == [("paris", key)]
    (cloud.edges / "paris.pub").write_bytes(key)  # copied again
    assert cloud.scan() == []
    assert len(cloud.registered) == 1


def test_a_key_that_is_being_copied_is_admitted_without_a_complaint(cloud: Cloud, key: bytes) -> None:
    for part in (0, 20, 100, len(key)):
        (cloud.edges / "paris.pub").write_bytes(key[:part])
        cloud.scan(1)
    assert cloud.lines == ["Edge paris admitted"]


NOT_KEYS = {
    "empty": b"",
    "half": b"ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQA",
    "ed25519": openssh(ed25519.Ed25519PrivateKey.generate().public_key()),
    "binary": bytes(range(256)),
    "huge": b"x" * 1_000_000,
    "private": b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
}


@pytest.mark.parametrize("content", NOT_KEYS.values(), ids=NOT_KEYS.keys())
def test_a_file_that_is_not_a_key_is_set_aside_and_reported_once(
    cloud: Cloud, key: bytes, content: bytes
) -> None:
    (cloud.edges / "broken.pub").write_bytes(content)
    (cloud.edges / "paris.pub").write_bytes(key)
    admitted, reported = cloud.scan(5)
    assert admitted == "Edge paris admitted"
    assert reported.startswith(f"Set aside broken.pub in {cloud.edges}: ")
    assert cloud.registered == [("paris", key)]


def test_a_file_that_was_set_aside_is_admitted_once_it_is_whole(cloud: Cloud, key: bytes) -> None:
    (cloud.edges / "paris.pub").write_bytes(key[:50])
    assert len(cloud.scan()) == 1
    (cloud.edges / "paris.pub").write_bytes(key)
    assert cloud.scan() == ["Edge paris admitted"]


@pytest.mark.parametrize("name", [".hidden", "a b", "\x1b[2J", "x" * 64, "ü", "", "-x", "a\nb"])
def test_a_file_name_that_is_not_an_edge_name_is_set_aside(cloud: Cloud, key: bytes, name: str) -> None:
    (cloud.edges / f"{name}.pub").write_bytes(key)
    (line,) = cloud.scan()
    assert "not a valid edge name" in line
    assert line.isprintable()
    assert cloud.registered == []


def test_what_is_not_a_regular_file_is_set_aside(cloud: Cloud, key: bytes, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(key)
    os.mkfifo(cloud.edges / "fifo.pub")  # opening it would wait for a writer
    (cloud.edges / "link.pub").symlink_to(tmp_path / "key")
    (cloud.edges / "lost.pub").symlink_to(tmp_path / "nothing")
    (cloud.edges / "folder.pub").mkdir()
    lines = cloud.scan()
    assert len(lines) == 4
    assert all(line.startswith("Set aside ") for line in lines)


def test_one_key_has_one_name(cloud: Cloud, key: bytes) -> None:
    for name in ("a", "b"):
        (cloud.edges / f"{name}.pub").write_bytes(key)
    assert cloud.scan() == ["Edge a admitted", f"Set aside b.pub in {cloud.edges}: It is the key of edge a"]


def test_an_edge_is_shut_out_when_its_key_is_removed(cloud: Cloud, key: bytes) -> None:
    (cloud.edges / "paris.pub").write_bytes(key)
    cloud.scan()
    (cloud.edges / "paris.pub").unlink()
    assert cloud.scan() == ["Edge paris shut out: its key is gone"]
    (cloud.edges / "paris.pub").write_bytes(key)
    assert cloud.scan() == ["Edge paris admitted"]


def test_an_edge_keeps_its_admission_while_a_new_key_is_damaged(
    cloud: Cloud, key: bytes, tmp_path: Path
) -> None:
    (cloud.edges / "paris.pub").write_bytes(key)
    cloud.scan()
    new = make_key(tmp_path / "new")
    (cloud.edges / "paris.pub").write_bytes(new[:40])
    assert [line[:9] for line in cloud.scan()] == ["Set aside"]
    (cloud.edges / "paris.pub").write_bytes(new)
    assert cloud.scan() == ["Edge paris admitted"]
    assert cloud.registered == [("paris", key), ("paris", new)]


def test_a_registration_that_fails_is_tried_again_later(
    cloud: Cloud, key: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.reason = "database is locked\x1b[2J"
    (cloud.edges / "paris.pub").write_bytes(key)
    (line,) = cloud.scan()
    assert line.startswith("Cannot admit edge paris, trying again in 30 s: database is locked")
    assert line.isprintable()
    cloud.reason = ""
    now = admission_module.time.monotonic()
    monkeypatch.setattr("time.monotonic", lambda: now + 31)
    assert cloud.scan() == ["Edge paris admitted"]


def test_an_unreadable_folder_ends_nothing(cloud: Cloud, key: bytes) -> None:
    (cloud.edges / "paris.pub").write_bytes(key)
    cloud.scan()
    shutil.rmtree(cloud.edges)
    assert cloud.scan() == []


def test_a_second_cloud_or_edge_on_one_folder_is_refused(tmp_path: Path) -> None:
    with folder_lock(tmp_path / "flower", "mvstylizer federate cloud"):
        with pytest.raises(
            FederationError, match="Another `mvstylizer federate cloud` is running on"
        ) as caught:
            run_cloud(tmp_path)
        assert "\n" not in str(caught.value)
    ready_edge(tmp_path)
    with (
        folder_lock(tmp_path / "flower", "mvstylizer federate edge"),
        pytest.raises(FederationError, match="Another `mvstylizer federate edge`"),
    ):
        run_edge(tmp_path, "127.0.0.1:1", "a")


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from fl.flower.folder_lock import folder_lock\n"
        "with folder_lock(Path(sys.argv[1]), 'x'): print(1, flush=True); time.sleep(60)"
    )
    argv = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"1\n"
        with pytest.raises(FederationError), folder_lock(tmp_path, "x"):
            pass
        process.kill()
        process.wait()
    with folder_lock(tmp_path, "x"):
        pass


def test_a_port_in_use_is_one_line_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(FederationError, match=f"Cannot listen on 127.0.0.1:{port}"):
            run_cloud(tmp_path, port=port)
    assert not (tmp_path / "flower" / "superlink.log").exists()


def ready_edge(folder: Path) -> EdgeFolder:
    edge = EdgeFolder(folder)
    edge.ca.parent.mkdir(parents=True, exist_ok=True)
    edge.ca.write_bytes(b"")
    edge.release_pub.write_bytes(b"")
    return edge


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".x", "x" * 64, "a b", "\x1b[2J"])
def test_an_edge_name_is_checked_before_it_is_a_path(tmp_path: Path, name: str) -> None:
    edge = ready_edge(tmp_path / "edge")
    with pytest.raises(FederationError, match="not a valid edge name"):
        edge.prepare(name)
    assert not list(tmp_path.rglob("*.pub.pub"))
    assert sorted(path.name for path in edge.root.iterdir()) == ["join"]


def test_an_edge_killed_between_its_keys_writes_the_public_one_again(tmp_path: Path) -> None:
    edge = ready_edge(tmp_path)
    public = edge.prepare("a")
    content = public.read_bytes()
    public.unlink()
    assert edge.prepare("a").read_bytes() == content
    edge.key.write_bytes(edge.key.read_bytes()[:100])
    with pytest.raises(FederationError, match="is damaged"):
        edge.prepare("a")


def test_an_interrupted_copy_is_not_the_start_model(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = CloudFolder(tmp_path)
    cloud.prepare((), 1)

    def interrupted(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:1000])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", interrupted)
        with pytest.raises(KeyboardInterrupt):
            submit(tmp_path, CONFIG, start=checkpoint)
    assert not list(tmp_path.glob("start*"))
    (tmp_path / "half").write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(CheckpointError):
        submit(tmp_path, CONFIG, start=tmp_path / "half")
    assert not list(tmp_path.glob("start*"))
    with monkeypatch.context() as patch:
        patch.setattr("fl.flower.submit._follow", lambda *_: [])
        with pytest.raises(FederationError, match="exited without a result"):
            submit(tmp_path, CONFIG, start=checkpoint)
    assert cloud.start.read_bytes() == checkpoint.read_bytes()
    assert [path.name for path in tmp_path.glob("start*")] == ["start.safetensors"]
