"""Grids in this process, whose replies are there at once."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fl.flower.fleet.POLL_S", 0.01)
