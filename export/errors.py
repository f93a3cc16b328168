"""The error of a file that is no graph of its format, or not a clean one."""

from __future__ import annotations

from mvstylizer.errors import MVStylizerError


class GraphError(MVStylizerError):
    """A file is no graph of its format, or not a clean one."""
