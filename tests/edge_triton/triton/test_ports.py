"""Free ports."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from edge_triton.triton import ports


def test_free_port_avoids_a_given_port(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = MagicMock()
    probe.__enter__.return_value.getsockname.side_effect = [
        ("127.0.0.1", port) for port in (4711, 4711, 4712)
    ]
    monkeypatch.setattr(ports, "socket", SimpleNamespace(socket=lambda: probe))
    assert ports.free_port(other_than=ports.free_port()) == 4712
