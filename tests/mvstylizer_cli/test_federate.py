from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fl.flower import submit
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
