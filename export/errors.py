"""The error of a model file that is not valid."""

from __future__ import annotations

from mvstylizer.errors import MVStylizerError


class GraphError(MVStylizerError):
    """A file is not a valid graph of its format, or not one that the target accepts."""
