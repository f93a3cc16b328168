"""The adb binary, driven as a program: every call names the phone's serial, every failure has a name."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mvstylizer.errors import MVStylizerError

CALL_SECONDS = 30.0
COPY_SECONDS = 300.0
# Printed after each command on the phone. An output that lacks it was cut off: adb clients report exit code
# 0 or 1 when a phone disappears under a running command, which a benchmark must not take for a result.
_END = "mvstylizer-command-ended"


class AdbError(MVStylizerError):
    """adb, or the connection to the phone, fails."""


class AdbMissingError(AdbError):
    """There is no adb binary."""


class NoPhoneError(AdbError):
    """adb sees no phone, or not the one that was named."""


class SeveralPhonesError(AdbError):
    """adb sees several phones and none was named."""


class UnauthorizedError(AdbError):
    """The phone has not accepted this computer's key."""


class OfflineError(AdbError):
    """The phone is listed and does not answer."""


class PhoneGoneError(AdbError):
    """The phone disappeared under a command."""


class NoSpaceError(AdbError):
    """The phone's storage is full."""


class AdbTimeoutError(AdbError):
    """The phone is there and a command did not end in time."""


class ListedPhone(NamedTuple):
    """A line of ``adb devices``: serial, and state (``device`` is ready)."""

    serial: str
    state: str


class ShellResult(NamedTuple):
    """What a command on the phone left: exit code (shell protocol 2), stdout and stderr."""

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
            "Install Android's platform-tools, or name the program with --adb or $ADB",
        )
    return found


class Adb:
    """The adb client. It starts adb's server when there is none; adb's own environment variables count.

    Args:
        program: What `find_adb` returned.
    """

    def __init__(self, program: str) -> None:
        self._program = program

    def phones(self) -> list[ListedPhone]:
        """Return the phones that adb sees, in whatever state.

        Raises:
            AdbError: adb itself fails.
        """
        try:
            done = self.call(["devices"], CALL_SECONDS)
        except subprocess.TimeoutExpired as err:
            raise AdbError("adb does not answer", "Run: adb kill-server") from err
        if done.returncode:
            raise AdbError(f"adb fails: {_last_line(done.stderr or done.stdout)}", "Run: adb kill-server")
        lines = done.stdout.partition("List of devices attached")[2].splitlines()
        return [ListedPhone(*line.split("\t", 1)) for line in lines if "\t" in line]

    def state(self, serial: str) -> str:
        """Return the state that adb lists for a serial, ``absent`` if it lists none."""
        return {phone.serial: phone.state for phone in self.phones()}.get(serial, "absent")

    def phone(self, serial: str | None = None) -> Phone:
        """Return the phone of this serial, or the only one.

        Raises:
            NoPhoneError: None is connected, or none with this serial.
            SeveralPhonesError: Several are connected and `serial` is None.
            UnauthorizedError: The phone waits for its user's consent.
            OfflineError: The phone does not answer.
            AdbError: Another state (recovery, no permissions), or an Android without shell protocol 2.
        """
        listed = self.phones()
        if serial is None:
            if not listed:
                raise NoPhoneError("No phone is connected", "Connect one with USB debugging switched on")
            if len(listed) > 1:
                raise SeveralPhonesError(
                    f"Several phones are connected: {', '.join(phone.serial for phone in listed)}",
                    "Name one with --serial",
                )
            serial = listed[0].serial
        state = dict(listed).get(serial, "absent")
        if state != "device":
            raise _unready(serial, state)
        phone = Phone(self, serial)
        phone.check_shell()
        return phone

    def call(self, arguments: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
        """Run the client, its output as text.

        Raises:
            subprocess.TimeoutExpired: It ran longer than `seconds` and was killed.
        """
        return subprocess.run(
            [self._program, *arguments],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=seconds,
        )  # fmt: skip


class Phone:
    """One phone; made by `Adb.phone`."""

    def __init__(self, adb: Adb, serial: str) -> None:
        self._adb = adb
        self.serial = serial

    def shell(self, command: str, seconds: float = CALL_SECONDS) -> ShellResult:
        """Run a command line in the phone's shell and wait for it.

        Args:
            command: For ``sh``; must not call ``exit`` itself.
            seconds: After which it is given up.

        Raises:
            PhoneGoneError: The phone disappeared before the end.
            AdbTimeoutError: It did not end in time.
            AdbError: The connection was cut, the phone is there again.
        """
        done = self._call(["shell", f"{command}\ncode=$?\necho {_END}\nexit $code"], seconds, "a command")
        stdout = done.stdout.replace("\r\n", "\n")
        if not stdout.endswith(f"{_END}\n"):
            raise self._failure("running a command", done.stderr)
        return ShellResult(done.returncode, stdout.removesuffix(f"{_END}\n"), done.stderr)

    def push(self, local: Path, remote: str) -> None:
        """Copy a file to the phone.

        Raises:
            NoSpaceError: The phone's storage is full.
            PhoneGoneError: The phone disappeared.
            AdbError: The copy failed otherwise; the message is adb's.
        """
        done = self._call(["push", str(local), remote], COPY_SECONDS, "a copy")
        if done.returncode:
            raise self._failure(f"copying {local.name} to it", done.stderr + done.stdout)

    def pull(self, remote: str, local: Path) -> None:
        """Copy a file from the phone.

        Raises:
            PhoneGoneError: The phone disappeared.
            AdbError: The copy failed otherwise; the message is adb's.
        """
        done = self._call(["pull", remote, str(local)], COPY_SECONDS, "a copy")
        if done.returncode:
            raise self._failure(f"copying {remote} from it", done.stderr + done.stdout)

    def check_shell(self) -> None:
        """Refuse a phone whose shell gives no exit codes.

        Raises:
            AdbError: It is older than Android 7.
        """
        done = self._call(["features"], CALL_SECONDS, "a question")
        if "shell_v2" not in done.stdout.split():
            raise AdbError(f"Phone {self.serial} gives no exit codes", "Use a phone with Android 7 or later")

    def _call(self, arguments: Sequence[str], seconds: float, what: str) -> subprocess.CompletedProcess[str]:
        try:
            return self._adb.call(["-s", self.serial, *arguments], seconds)
        except subprocess.TimeoutExpired as err:
            if self._adb.state(self.serial) != "device":
                raise self._gone() from err
            raise AdbTimeoutError(
                f"Phone {self.serial} did not finish {what} within {seconds:g} s",
                "Wake it up, or restart it",
            ) from err

    def _failure(self, doing: str, said: str) -> AdbError:
        if "No space left on device" in said:
            return NoSpaceError(
                f"No space left on phone {self.serial} while {doing}", "Free some storage on it"
            )
        state = self._adb.state(self.serial)
        if state == "unauthorized":
            return _unready(self.serial, state)
        if state != "device":
            return self._gone()
        return AdbError(f"Phone {self.serial} failed at {doing}: {_last_line(said) or 'connection cut'}")

    def _gone(self) -> PhoneGoneError:
        return PhoneGoneError(f"Phone {self.serial} disappeared", "Check the cable and start again")


def _unready(serial: str, state: str) -> AdbError:
    if state == "absent":
        return NoPhoneError(f"No phone {serial} is connected", "List them with: adb devices")
    if state in ("unauthorized", "authorizing"):
        return UnauthorizedError(
            f"Phone {serial} has not authorized this computer", "Unlock it and accept the debugging prompt"
        )
    if state in ("offline", "connecting"):
        return OfflineError(f"Phone {serial} is {state}", "Unplug it and plug it in again")
    return AdbError(f"Phone {serial} is not ready: {state}", "Start Android and switch USB debugging on")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("adb: ").removeprefix("error: ") if lines else ""
