from __future__ import annotations

import socket
import socketserver
import threading
from pathlib import Path

import psutil
import pytest

from device_runtime.bench.adb import Adb, Phone, find_adb
from device_runtime.bench.adb_errors import (
    AdbError,
    AdbMissingError,
    AdbTimeoutError,
    NoPhoneError,
    OfflineError,
    PhoneGoneError,
    PhoneStorageFullError,
    SeveralPhonesError,
    UnauthorizedError,
)
from tests.device_runtime.bench.adb_daemon import EmulatedPhone
from tests.device_runtime.bench.conftest import Connect


def test_the_only_phone_needs_no_serial(adb: Adb, emulated: EmulatedPhone) -> None:
    assert adb.phone().serial == emulated.serial


def test_no_phone(adb: Adb) -> None:
    with pytest.raises(NoPhoneError, match="No phone is connected"):
        adb.phone()


def test_a_serial_that_is_not_connected(adb: Adb, emulated: EmulatedPhone) -> None:
    with pytest.raises(NoPhoneError, match="No phone FA79 is connected"):
        adb.phone("FA79")


def test_two_phones_need_a_serial(adb: Adb, connect: Connect) -> None:
    first, second = connect("first"), connect("second")
    with pytest.raises(SeveralPhonesError, match="--serial") as caught:
        adb.phone()
    assert first.serial in str(caught.value)
    assert second.serial in str(caught.value)
    (second.root / "data/which").write_text("second")
    assert adb.phone(second.serial).shell("cat /data/which").stdout == "second"


def test_an_unauthorized_phone(adb: Adb, connect: Connect) -> None:
    waiting = connect(authorized=False)
    with pytest.raises(UnauthorizedError, match="accept the debugging prompt"):
        adb.phone(waiting.serial)


def test_a_phone_without_exit_codes(adb: Adb, connect: Connect) -> None:
    old = connect(shell_v2=False)
    with pytest.raises(AdbError, match="Android 7"):
        adb.phone(old.serial)


def test_the_shell_reports_exit_code_stdout_and_stderr(phone: Phone) -> None:
    assert phone.shell("echo out; echo err >&2; sh -c 'exit 42'") == (42, "out\n", "err\n")
    assert phone.shell("true") == (0, "", "")


def test_shell_passes_large_output(phone: Phone) -> None:
    assert phone.shell("seq 200000").stdout == "".join(f"{i}\n" for i in range(1, 200001))


def test_a_command_that_does_not_end(phone: Phone) -> None:
    with pytest.raises(AdbTimeoutError, match=r"0\.3 s"):
        phone.shell("sleep 60", seconds=0.3)
    assert phone.shell("echo still there").stdout == "still there\n"


def test_a_long_command_ends_with_its_client(phone: Phone, emulated: EmulatedPhone) -> None:
    emulated.keeps_orphans = True
    group = emulated.path("/data/local/tmp/mvstylizer.pid")
    alive = emulated.path("/data/local/tmp/alive")
    with pytest.raises(AdbTimeoutError):
        phone.run("sh -c 'echo $$ > /data/local/tmp/alive; exec sleep 60'", seconds=1)
    assert not group.exists()
    number = int(alive.read_text())
    left = [psutil.Process(number)] if psutil.pid_exists(number) else []
    assert psutil.wait_procs(left, timeout=10)[1] == []
    assert phone.run("echo done", seconds=10) == (0, "done\n", "")
    assert not group.exists()


def test_files_travel_both_ways(phone: Phone, emulated: EmulatedPhone, tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    (tmp_path / "there").write_bytes(content)
    phone.push(tmp_path / "there", "/data/local/tmp/file")
    assert emulated.path("/data/local/tmp/file").read_bytes() == content
    phone.pull("/data/local/tmp/file", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content


def test_a_reversed_port_reaches_this_machine(phone: Phone, emulated: EmulatedPhone) -> None:
    """A program on the phone, here this one, connects to a port there and talks to a server here."""

    class Echo(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                self.wfile.write(line.upper())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with phone.reverse(server.server_address[1]) as port:
            assert list(emulated.reversed) == [port]
            for text in (b"hello\n", b"x" * 300_000 + b"\n"):
                with (
                    socket.create_connection(("127.0.0.1", port), 20) as client,
                    client.makefile("rb") as lines,
                ):
                    client.sendall(text)
                    assert lines.readline() == text.upper()
        server.shutdown()
    assert emulated.reversed == {}


def test_a_phone_that_refuses_to_reverse_a_port(phone: Phone, emulated: EmulatedPhone) -> None:
    emulated.allows_reverse = False
    with pytest.raises(AdbError, match=r"refuses adb reverse: .*disabled.*Use --local"), phone.reverse(8001):
        pass


def test_pulling_what_is_not_there(phone: Phone, tmp_path: Path) -> None:
    with pytest.raises(AdbError, match="No such file"):
        phone.pull("/data/local/tmp/nothing", tmp_path / "back")


def test_a_full_phone(phone: Phone, emulated: EmulatedPhone, tmp_path: Path) -> None:
    emulated.free_bytes = 100
    (tmp_path / "file").write_bytes(bytes(1000))
    with pytest.raises(PhoneStorageFullError, match="No space left on phone"):
        phone.push(tmp_path / "file", "/data/local/tmp/file")


def test_a_phone_that_disconnects_during_a_command(
    adb: Adb, phone: Phone, emulated: EmulatedPhone, tmp_path: Path
) -> None:
    emulated.dies_at = "long work"
    with pytest.raises(PhoneGoneError, match="disconnected"):
        phone.shell("echo long work")
    with pytest.raises(PhoneGoneError):
        phone.shell("true")
    (tmp_path / "file").write_bytes(b"1")
    with pytest.raises(PhoneGoneError):
        phone.push(tmp_path / "file", "/data/local/tmp/file")
    with pytest.raises((OfflineError, NoPhoneError)):
        adb.phone(phone.serial)


def test_a_server_of_another_version_is_left_alone(adb: Adb, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client would kill it, and the work of the program that started it."""
    adb.check_server()  # the tests' own server

    class Older(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            assert self.request.recv(64) == b"000chost:version"
            self.request.sendall(b"OKAY00040020")

    with socketserver.TCPServer(("127.0.0.1", 0), Older) as server:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(server.server_address[1]))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(
            AdbError, match=r"server has version 1\.0\.32, and this client \(1\.0\.41\) would stop"
        ):
            adb.check_server()
        server.shutdown()
    adb.check_server()  # none runs on that port


def test_adb_is_found_by_option_then_environment_then_path(
    adb_program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADB", str(tmp_path / "none"))
    assert find_adb(adb_program) == adb_program
    with pytest.raises(AdbMissingError, match=str(tmp_path)):
        find_adb()
    monkeypatch.delenv("ADB")
    monkeypatch.setenv("PATH", str(Path(adb_program).parent))
    assert find_adb() == adb_program
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AdbMissingError, match="adb is not installed"):
        find_adb()
