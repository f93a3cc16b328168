"""Run the adb binary: every call selects the phone by serial, every failure has its own error class."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from device_runtime.bench.adb_errors import (
    AdbError,
    AdbMissingError,
    AdbTimeoutError,
    NoPhoneError,
    PhoneGoneError,
    PhoneStorageFullError,
    SeveralPhonesError,
    unready,
)

CALL_TIMEOUT_S = 30.0
COPY_TIMEOUT_S = 300.0
# Printed after each command on the phone. Output without it is incomplete: adb reports exit code 0 or 1 when
# a phone disconnects during a command, which must not be mistaken for a result.
_END = "mvstylizer-command-ended"
_GROUP = "/data/local/tmp/mvstylizer.pid"  # holds the process group of the running command


class ListedPhone(NamedTuple):
    """A line of ``adb devices``: serial and state (``device`` means ready)."""

    serial: str
    state: str


class ShellResult(NamedTuple):
    """Result of a command on the phone: exit code (shell protocol 2), stdout and stderr."""

    exit_code: int
    stdout: str
    stderr: str


def find_adb(named: Path | str | None = None) -> str:
    """Return the adb binary: `named`, else ``$ADB``, else the one on PATH.

    Raises:
        AdbMissingError: None of them is a program.
    """
    wanted = str(named or os.environ.get("ADB") or "adb")
    found = shutil.which(wanted)
    if found is None:
        raise AdbMissingError(
            f"No adb program at {wanted!r}" if wanted != "adb" else "adb is not installed",
            "Install Android's platform-tools, or set the path with --adb or $ADB",
        )
    return found


class Adb:
    """The adb client. It starts adb's server if necessary and honors adb's environment variables.

    Args:
        program: Path of the binary, from `find_adb`.
    """

    def __init__(self, program: str) -> None:
        self._program = program

    def check_server(self) -> None:
        """Check that no adb server of another version runs: the client would kill it, and who uses it.

        Raises:
            AdbError: One does.
        """
        theirs = _server_version(int(os.environ.get("ANDROID_ADB_SERVER_PORT") or 5037))
        found = re.search(r"version 1\.0\.(\d+)", self.call(["version"], CALL_TIMEOUT_S).stdout)
        if theirs and found and theirs != int(found[1]):
            raise AdbError(
                f"adb's server has version 1.0.{theirs}, and this client (1.0.{found[1]}) would stop it",
                "Choose the adb that started it with --adb, or stop it: adb kill-server",
            )

    def phones(self) -> list[ListedPhone]:
        """Return the phones that adb lists, in any state.

        Raises:
            AdbError: adb itself fails.
        """
        try:
            done = self.call(["devices"], CALL_TIMEOUT_S)
        except subprocess.TimeoutExpired as err:
            raise AdbError("adb does not answer", "Run: adb kill-server") from err
        if done.returncode:
            raise AdbError(f"adb fails: {_last_line(done.stderr or done.stdout)}", "Run: adb kill-server")
        lines = done.stdout.partition("List of devices attached")[2].splitlines()
        return [ListedPhone(*line.split("\t", 1)) for line in lines if "\t" in line]

    def state(self, serial: str) -> str:
        """Return the state of a phone as listed by adb, ``absent`` if it is not listed."""
        return {phone.serial: phone.state for phone in self.phones()}.get(serial, "absent")

    def phone(self, serial: str | None = None) -> Phone:
        """Return the phone with this serial, or the only one.

        Raises:
            NoPhoneError: None is connected, or none with this serial.
            SeveralPhonesError: Several are connected and `serial` is None.
            UnauthorizedError: The user has not accepted the debugging prompt.
            OfflineError: The phone does not answer.
            AdbError: Another state (recovery, no permissions), or an Android without shell protocol 2.
        """
        listed = self.phones()
        if serial is None:
            if not listed:
                raise NoPhoneError("No phone is connected", "Connect one with USB debugging enabled")
            if len(listed) > 1:
                raise SeveralPhonesError(
                    f"Several phones are connected: {', '.join(phone.serial for phone in listed)}",
                    "Select one with --serial",
                )
            serial = listed[0].serial
        state = dict(listed).get(serial, "absent")
        if state != "device":
            raise unready(serial, state)
        phone = Phone(self, serial)
        phone.check_shell()
        return phone

    def call(self, arguments: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
        """Run the client and return its output as text.

        Raises:
            subprocess.TimeoutExpired: It ran longer than `seconds` and was killed.
        """
        return subprocess.run(
            [self._program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
        )


class Phone:
    """One phone; created by `Adb.phone`."""

    def __init__(self, adb: Adb, serial: str) -> None:
        self._adb = adb
        self.serial = serial

    def run(self, command: str, seconds: float) -> ShellResult:
        """Run a long command; unlike `shell`, end it on the phone after a timeout or Ctrl-C.

        Android lets a command run on when its client is gone. Its shell leads a process group.

        Raises:
            AdbError: See `shell`.
        """
        try:
            done = self.shell(f"echo $$ > {_GROUP}; {command}", seconds)
            self.shell(f"rm -f {_GROUP}")
            return done
        except BaseException:
            if self.is_connected():
                self.shell(f"kill -TERM -$(cat {_GROUP}); rm -f {_GROUP}")
            raise

    def shell(self, command: str, seconds: float = CALL_TIMEOUT_S) -> ShellResult:
        """Run a command line in the phone's shell and wait for it.

        Args:
            command: For ``sh``; must not call ``exit`` itself.
            seconds: Timeout.

        Raises:
            PhoneGoneError: The phone disconnected before the end.
            AdbTimeoutError: It did not finish in time.
            AdbError: The connection was interrupted, but the phone is back.
        """
        done = self._call(["shell", f"{command}\ncode=$?\necho {_END}\nexit $code"], seconds, "a command")
        stdout = done.stdout.replace("\r\n", "\n")
        if not stdout.endswith(f"{_END}\n"):
            raise self._failure("running a command", done.stderr)
        return ShellResult(done.returncode, stdout.removesuffix(f"{_END}\n"), done.stderr)

    def push(self, local: Path, remote: str) -> None:
        """Copy a file to the phone.

        Raises:
            PhoneStorageFullError: The phone's storage is full.
            PhoneGoneError: The phone disconnected.
            AdbError: The copy failed for another reason, given in adb's words.
        """
        done = self._call(["push", str(local), remote], COPY_TIMEOUT_S, "a copy")
        if done.returncode:
            raise self._failure(f"copying {local.name} to it", done.stderr + done.stdout)

    def pull(self, remote: str, local: Path) -> None:
        """Copy a file from the phone.

        Raises:
            PhoneGoneError: The phone disconnected.
            AdbError: The copy failed for another reason, given in adb's words.
        """
        done = self._call(["pull", remote, str(local)], COPY_TIMEOUT_S, "a copy")
        if done.returncode:
            raise self._failure(f"copying {remote} from it", done.stderr + done.stdout)

    @contextmanager
    def reverse(self, port: int) -> Iterator[int]:
        """Forward a port of the phone, which it chooses, to a port of this machine; removed at the end.

        Raises:
            AdbError: The phone refuses it.
            PhoneGoneError: The phone disconnected.
        """
        done = self._call(["reverse", "tcp:0", f"tcp:{port}"], CALL_TIMEOUT_S, "a request")
        there = done.stdout.strip()
        if done.returncode or not there.isdecimal():
            if self._adb.state(self.serial) != "device":
                raise self._gone()
            raise AdbError(
                f"Phone {self.serial} refuses adb reverse: {_last_line(done.stderr) or 'it names no port'}",
                "Use --local, or --edge with an address that the phone reaches by itself",
            )
        try:
            yield int(there)
        finally:
            if self.is_connected():
                self._call(["reverse", "--remove", f"tcp:{there}"], CALL_TIMEOUT_S, "a request")

    def is_connected(self) -> bool:
        """Return whether adb lists the phone as ready."""
        return self._adb.state(self.serial) == "device"

    def check_shell(self) -> None:
        """Check that the phone's shell reports exit codes.

        Raises:
            AdbError: It is older than Android 7.
        """
        done = self._call(["features"], CALL_TIMEOUT_S, "a query")
        if "shell_v2" not in done.stdout.split():
            raise AdbError(
                f"Phone {self.serial} does not report exit codes", "Use a phone with Android 7 or later"
            )

    def _call(self, arguments: Sequence[str], seconds: float, what: str) -> subprocess.CompletedProcess[str]:
        try:
            return self._adb.call(["-s", self.serial, *arguments], seconds)
        except subprocess.TimeoutExpired as err:
            if self._adb.state(self.serial) != "device":
                raise self._gone() from err
            raise AdbTimeoutError(
                f"Phone {self.serial} did not finish {what} within {seconds:g} s",
                "Unlock or restart it",
            ) from err

    def _failure(self, doing: str, output: str) -> AdbError:
        if "No space left on device" in output:
            return PhoneStorageFullError(
                f"No space left on phone {self.serial} while {doing}", "Free some storage on it"
            )
        state = self._adb.state(self.serial)
        if state == "unauthorized":
            return unready(self.serial, state)
        if state != "device":
            return self._gone()
        cause = _last_line(output) or "connection interrupted"
        return AdbError(f"Phone {self.serial} failed while {doing}: {cause}")

    def _gone(self) -> PhoneGoneError:
        return PhoneGoneError(f"Phone {self.serial} disconnected", "Check the cable and try again")


def _server_version(port: int) -> int | None:
    """Return the version of the adb server on a port of this machine, 41 for 1.0.41; None without one."""
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=2) as server,
            server.makefile("rb") as reply,
        ):
            server.sendall(b"000chost:version")
            answer = reply.read(12)  # OKAY, the length 0004, and four hexadecimal digits
        return int(answer[8:], 16) if answer[:4] == b"OKAY" else None
    except (OSError, ValueError):
        return None


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("adb: ").removeprefix("error: ") if lines else ""
