"""Every command, make target and link in README and docs exists, and their Python runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
import typer
from typer.testing import CliRunner

from mvstylizer_cli import main as cli

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`(mvstylizer [a-z][^`\n]*)`")
COMMAND = re.compile(r"(?:^|[\s/(])mvstylizer (?P<arguments>(?:--debug )?[a-z][^#\n;&|)]*)")


def commands(page: Path) -> list[str]:
    text = page.read_text()
    lines = [
        line
        for language, block in BLOCK.findall(text)
        if language in ("", "bash", "sh")
        for line in block.replace("\\\n", " ").splitlines()
    ]
    found = [match["arguments"] for line in lines for match in COMMAND.finditer(line)]
    return [*found, *(each.removeprefix("mvstylizer ") for each in INLINE.findall(text))]


def parse(words: str) -> None:
    """Parse a command; missing arguments are allowed, unknown names and wrong values are not."""
    command: click.Command = typer.main.get_command(cli.app)
    rest = shlex.split(words.replace("[--resume]", "--resume"))
    context = None
    while True:
        try:
            context = command.make_context(command.name, rest, parent=context)
        except (click.MissingParameter, click.exceptions.Exit, click.exceptions.NoArgsIsHelpError):
            return
        if not isinstance(command, click.Group):
            return
        _, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None, words
        command = found


@pytest.fixture
def documented_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration file that the documentation shows."""
    blocks = BLOCK.findall((ROOT / "docs" / "workflows.md").read_text())
    (tmp_path / "config.toml").write_text("".join(text for language, text in blocks if language == "toml"))
    monkeypatch.setenv("MVSTYLIZER_CONFIG", str(tmp_path / "config.toml"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
@pytest.mark.usefixtures("documented_config")
def test_commands_exist(page: Path) -> None:
    for words in commands(page):
        try:
            parse(words)
        except click.UsageError as error:
            pytest.fail(f"{page.name}: mvstylizer {words}: {error.format_message()}")


def test_a_wrong_command_is_noticed() -> None:
    assert len(commands(ROOT / "docs" / "edge.md")) == 4
    for wrong in (
        "stylise a.mp4",
        "serve --prot 1",
        "federate launch",
        "studio --host 0.0.0.0",
        "doctor now",
    ):
        with pytest.raises(click.UsageError):
            parse(wrong)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = "\n".join(block for _, block in BLOCK.findall(page.read_text())) + "\n"
    named = re.findall(r"^make ([a-z0-9-]+)", text, re.MULTILINE) + re.findall(
        r"`make ([a-z0-9-]+)`", page.read_text()
    )
    assert set(named) <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_named_files_and_what_they_define_exist(page: Path) -> None:
    """`folder/file.py` names a file, `name` (`folder/file.py`) something that it mentions."""
    text = page.read_text()
    named = set(re.findall(r"`((?:[a-z_]+/)+[a-z_0-9]+\.(?:py|json|yaml))`", text))
    missing = sorted(path for path in named if not (ROOT / path).exists())
    pairs = re.findall(r"`(\w+)`\s\(`((?:[a-z_]+/)+[a-z_0-9]+\.py)`\)", text)
    assert missing == []
    assert [pair for pair in pairs if pair[0] not in (ROOT / pair[1]).read_text()] == []


@pytest.mark.slow
def test_the_peer_adapter_runs(street: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mp4").write_bytes(street.read_bytes())
    (tmp_path / "b.jpg").write_bytes((ROOT / "samples" / "dusk.jpg").read_bytes())
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for language, block in BLOCK.findall((ROOT / "docs" / "peers.md").read_text()):
        if language == "python":
            exec(block, names)
    assert (tmp_path / "c.mp4").stat().st_size > 1000


def test_help_describes_positional_arguments() -> None:
    result = CliRunner().invoke(cli.app, ["stylize", "--help"])
    assert "Videos, photos or folders" in " ".join(result.output.split())
