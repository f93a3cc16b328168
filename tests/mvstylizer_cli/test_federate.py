from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fl.edge_privacy import DELTA, EdgePrivacy, charge
from fl.flower import edge, submit
from fl.flower.run_config import RunConfig
from mvstylizer_cli.federate import app


@pytest.mark.parametrize(
    ("words", "warnings"),
    [
        (["--server-lr", "0.1", "--fedprox-mu=0.2"], ""),
        (
            ["--adam-rate", "0.1", "--proximal=0.2"],
            "mvstylizer: --adam-rate is deprecated, use --server-lr\n"
            "mvstylizer: --proximal is deprecated, use --fedprox-mu\n",
        ),
    ],
)
def test_submit_passes_its_options_on_and_accepts_their_former_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], warnings: str
) -> None:
    configs: list[RunConfig] = []

    def record(root: Path, config: RunConfig, **_: Any) -> list[Any]:
        configs.append(config)
        return []

    monkeypatch.setattr(submit, "submit", record)
    result = CliRunner().invoke(app, ["submit", "--folder", str(tmp_path), "--rounds", "3", *words])
    assert result.exit_code == 0
    assert configs == [RunConfig(rounds=3, server_lr=0.1, fedprox_mu=0.2)]
    assert result.stderr == warnings


def test_sizes_must_be_multiples_of_32(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["submit", "--folder", str(tmp_path), "--crop", "100"])
    assert result.exit_code == 2
    assert "must be a multiple of 32" in result.stderr


@pytest.mark.parametrize(
    ("words", "privacy"),
    [
        ([], None),
        (["--dp-noise", "2", "--dp-clip", "0.5"], EdgePrivacy(2.0, 0.5)),
        (["--dp-clip", "3"], None),
    ],
)
def test_an_edge_passes_its_privacy_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], privacy: EdgePrivacy | None
) -> None:
    passed: list[EdgePrivacy | None] = []
    monkeypatch.setattr(edge, "run_edge", lambda *_, **options: passed.append(options["privacy"]))
    command = ["edge", "--folder", str(tmp_path), "--cloud", "x:1", "--name", "a", *words]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert passed == [privacy]


def test_status_of_an_edge_shows_what_its_noise_has_spent(tmp_path: Path) -> None:
    spent = charge(tmp_path, EdgePrivacy(4.0, 1.0), 1)
    result = CliRunner().invoke(app, ["status", "--folder", str(tmp_path), "--json"])
    found = json.loads(result.stdout)
    assert (found["updates"], found["epsilon"], found["delta"]) == (1, spent, DELTA)
