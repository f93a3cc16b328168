"""What the page is told when a request cannot be carried out, with the HTTP status that says it."""

from __future__ import annotations

from typing import ClassVar

from mvstylizer.errors import MVStylizerError


class StudioError(MVStylizerError):
    """Something that whoever uses the page can mend.

    Attributes:
        status: HTTP status of the answer.
    """

    status: ClassVar[int] = 400


class BusyError(StudioError):
    """A job runs; its files and its result must stay as they are."""

    status = 409


class TooLargeError(StudioError):
    """An upload is larger than the studio takes."""

    status = 413


class NoSpaceError(StudioError):
    """The disk has no room for an upload."""

    status = 507
