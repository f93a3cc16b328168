"""The configuration file: profiles, precedence, unknown keys; and shell completion."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from mvstylizer_cli import main as cli
from mvstylizer_cli.config_file import ConfigError, default_path

ROOT = Path(__file__).parents[2]
CONFIG = """
[stylize]
local = true
strength = 0.9
crf = 20

[lut]
size = 17

[profiles.dusk]
style = ["photos/dusk.jpg", "/photos/b.jpg"]
style-weights = [3, 1]
strength = 0.5
key_frames = "every:12"
size = 65
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    monkeypatch.setenv("MVSTYLIZER_CONFIG", str(path))
    return path


def parsed(words: str) -> dict[str, Any]:
    """Return the parameters that a command line would run with."""
    command = typer.main.get_command(cli.app)
    root = command.make_context("mvstylizer", words.split())
    assert isinstance(command, typer.core.TyperGroup)
    name, found, rest = command.resolve_command(root, [*root._protected_args, *root.args])
    assert found is not None
    return found.make_context(name, rest, parent=root).params


def test_the_command_line_wins_over_the_profile_and_that_over_the_defaults(config: Path) -> None:
    found = parsed("stylize a.mp4 --out b.mp4 --profile dusk --crf 12")
    assert list(map(Path, found["style"])) == [config.parent / "photos" / "dusk.jpg", Path("/photos/b.jpg")]
    assert (found["style_weights"], found["key_frames"]) == ("3,1", "every:12")
    assert (found["strength"], found["crf"], found["local"]) == (0.5, 12, True)
    assert parsed("stylize a.mp4 --out b.mp4 --style c.jpg")["strength"] == 0.9
    given = parsed("stylize a.mp4 --out b.mp4 --profile=dusk --style c.jpg --strength 1")
    assert (list(given["style"]), given["strength"]) == (["c.jpg"], 1)


def test_an_edge_on_the_command_line_turns_local_off(config: Path) -> None:
    assert parsed("stylize a.mp4 --out b.mp4 --style c.jpg --edge 10.0.0.1:8001")["local"] is False


def test_a_profile_serves_every_command(config: Path) -> None:
    found = parsed("lut a.mp4 --out b.cube --profile dusk")
    assert (found["size"], found["strength"], found["local"]) == (65, 0.5, False)
    assert parsed("lut a.mp4 --out b.cube --style c.jpg")["size"] == 17


def test_a_file_can_be_named(config: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text('[stylize]\nmatch = "look"\n')
    found = parsed(f"stylize a.mp4 --out b.mp4 --style c.jpg --config {other}")
    assert (found["match"], found["strength"]) == ("look", 1.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[profiles.dusk]\nstrenght = 1", "no key 'strenght' in [profiles.dusk]. Did you mean 'strength'?"),
        ("[stylize]\nkeyframes = 'codec'", "no key 'keyframes' in [stylize]. Did you mean 'key-frames'?"),
        ("[stylize]\nsize = 33", "no key 'size' in [stylize]"),
        ("[stylize]\nout = 'a.mp4'", "no key 'out' in [stylize]"),
        ("[profile.dusk]", "no table [profile]. Did you mean 'profiles'?"),
        ("[profiles.dust]", "no profile 'dusk'. Did you mean 'dust'?"),
        ("stylize = 1", "stylize is not a table. Write [stylize]"),
        ("[profiles]\ndusk = 1", "profiles.dusk is not a table"),
        ("[stylize\n", "is not a TOML file"),
    ],
)
def test_mistakes_are_named(text: str, said: str, config: Path) -> None:
    config.write_text(text)
    with pytest.raises(ConfigError) as refused:
        parsed("stylize a.mp4 --out b.mp4 --profile dusk")
    assert said in str(refused.value)
    assert str(config) in str(refused.value)


def test_a_value_of_the_wrong_kind_is_wrong_usage(config: Path) -> None:
    config.write_text("[stylize]\nstrength = 'much'\n")
    done = CliRunner().invoke(cli.app, ["stylize", "a.mp4", "--style", "c.jpg", "--out", "b.mp4"])
    assert done.exit_code == 2
    assert "'much' is not a valid float" in done.output


def test_only_the_default_file_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MVSTYLIZER_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_path() == tmp_path / "mvstylizer" / "config.toml"
    assert parsed("stylize a.mp4 --out b.mp4 --style c.jpg")["strength"] == 1.0
    with pytest.raises(ConfigError, match="no configuration file"):
        parsed("stylize a.mp4 --out b.mp4 --style c.jpg --config nowhere.toml")


def test_the_shell_completes_commands_options_and_profiles(config: Path) -> None:
    for typed, expected in (
        ("sty", "stylize"),
        ("stylize --key", "--key-frames"),
        ("stylize --profile d", "dusk"),
    ):
        words = f"mvstylizer {typed}"
        environment = {
            **os.environ,
            "_MVSTYLIZER_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split()) - 1),
        }
        run = "import sys; sys.argv = ['mvstylizer']; from mvstylizer_cli.main import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", run], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        assert expected in done.stdout.split(), done.stderr
