"""Errors of the page's requests, with their HTTP status."""

from __future__ import annotations

from typing import ClassVar

from mvstylizer.errors import MVStylizerError


class StudioError(MVStylizerError):
    """Error that the user of the page can fix.

    Attributes:
        status: HTTP status of the response.
    """

    status: ClassVar[int] = 400


class BusyError(StudioError):
    """Error raised when a running job prevents a change of its files or result."""

    status = 409


class TooLargeError(StudioError):
    """Error raised when an upload exceeds the maximum size."""

    status = 413


class DiskFullError(StudioError):
    """Error raised when the disk has no room for an upload."""

    status = 507
