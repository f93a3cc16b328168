"""Errors of adb and the connection to the phone."""

from __future__ import annotations

from mvstylizer.errors import MVStylizerError


class AdbError(MVStylizerError):
    """Error raised when adb, or the connection to the phone, fails."""


class AdbMissingError(AdbError):
    """Error raised when there is no adb binary."""


class NoPhoneError(AdbError):
    """Error raised when adb sees no phone, or not the requested one."""


class SeveralPhonesError(AdbError):
    """Error raised when several phones are connected and none was selected."""


class UnauthorizedError(AdbError):
    """Error raised when the phone has not accepted this computer's key."""


class OfflineError(AdbError):
    """Error raised when the phone is listed but does not answer."""


class PhoneGoneError(AdbError):
    """Error raised when the phone disconnects during a command."""


class PhoneStorageFullError(AdbError):
    """Error raised when the phone's storage is full."""


class AdbTimeoutError(AdbError):
    """Error raised when a command does not finish in time although the phone is connected."""


def unready(serial: str, state: str) -> AdbError:
    """Return the error for a phone in a state other than ``device``.

    Args:
        serial: The phone's serial.
        state: As listed by ``adb devices``, or ``absent``.
    """
    if state == "absent":
        return NoPhoneError(f"No phone {serial} is connected", "List them with: adb devices")
    if state in ("unauthorized", "authorizing"):
        return UnauthorizedError(
            f"Phone {serial} has not authorized this computer", "Unlock it and accept the debugging prompt"
        )
    if state in ("offline", "connecting"):
        return OfflineError(f"Phone {serial} is {state}", "Unplug it and plug it in again")
    return AdbError(f"Phone {serial} is not ready: {state}", "Start Android and enable USB debugging")
