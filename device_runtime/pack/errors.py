"""Errors of making the phone runtime."""

from __future__ import annotations

from mvstylizer.errors import MVStylizerError


class PackError(MVStylizerError):
    """Error raised when the phone runtime cannot be downloaded or written."""
