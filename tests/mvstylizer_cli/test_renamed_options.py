from __future__ import annotations

from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from mvstylizer_cli.renamed_options import renaming

app = typer.Typer()


@app.callback()
def group() -> None:
    pass


@app.command(cls=renaming({"--steady": "--temporal-smoothing"}, {("--flow-init", "before"): "previous"}))
def stylize(
    video: str,
    temporal_smoothing: Annotated[float, typer.Option()] = 0,
    flow_init: Annotated[str, typer.Option()] = "none",
) -> None:
    typer.echo(f"{video} {temporal_smoothing} {flow_init}")


@pytest.mark.parametrize("words", [["--steady", "0.5"], ["--steady=0.5"]])
def test_an_old_option_still_works_and_names_the_new_one(words: list[str]) -> None:
    result = CliRunner().invoke(app, ["stylize", "before", *words])
    assert result.stdout == "before 0.5 none\n"
    assert result.stderr == "mvstylizer: --steady is deprecated, use --temporal-smoothing\n"


@pytest.mark.parametrize("words", [["--flow-init", "before"], ["--flow-init=before"]])
def test_an_old_value_still_works(words: list[str]) -> None:
    result = CliRunner().invoke(app, ["stylize", "before", *words])
    assert result.stdout == "before 0.0 previous\n"
    assert result.stderr == "mvstylizer: --flow-init before is deprecated, use --flow-init previous\n"


def test_what_follows_a_double_dash_is_left_alone() -> None:
    result = CliRunner().invoke(app, ["stylize", "--", "--steady"])
    assert result.stdout == "--steady 0.0 none\n"


def test_help_shows_the_new_name_only() -> None:
    text = CliRunner().invoke(app, ["stylize", "--help"]).output
    assert "--temporal-smoothing" in text
    assert "--steady" not in text


OLD = renaming({"--flow-start": "--flow-init"}, {("--flow-init", "before"): "previous"})


@pytest.mark.parametrize("words", [["--flow-start", "before"], ["--flow-start=before"]])
def test_an_old_option_with_an_old_value_is_one_line(words: list[str]) -> None:
    app = typer.Typer()

    @app.command(cls=OLD)
    def stylize(video: str, flow_init: str = "none") -> None:
        typer.echo(f"{video} {flow_init}")

    result = CliRunner().invoke(app, ["before", *words])
    assert result.stdout == "before previous\n"
    assert result.stderr == "mvstylizer: --flow-start before is deprecated, use --flow-init previous\n"
