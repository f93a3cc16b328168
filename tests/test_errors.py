"""What goes wrong is one line with a hint; a test over the whole tree, and one over the command line."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

from docs.hooks.messages import BASE, ROOT, Message, error_classes, files, messages

# What no user sees: these become a gRPC status. A ValueError is a caller's mistake, and the command line
# makes wrong usage (exit 2) of those that an option can cause.
NOT_FOR_USERS = {"StatusError", "TritonChannelClosedError"}
FOUND = messages()


def test_every_error_has_the_one_base_or_is_known_not_to_reach_users() -> None:
    trees = [ast.parse(path.read_text()) for path in files()]
    below = error_classes(trees)
    strays = {
        node.name
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error") and not node.name.startswith("_")
        if node.name not in below and "ValueError" not in map(ast.unparse, node.bases)
    }
    assert strays <= NOT_FOR_USERS
    assert BASE in below
    assert len(below) > 20


def test_the_walk_finds_messages_that_are_known_to_be_there() -> None:
    texts = {message.text for message in FOUND}
    assert "No phone is connected" in texts
    assert "There is no file …" in texts
    assert len(FOUND) > 80


def test_a_message_is_one_line_and_its_hint_one_sentence() -> None:
    assert [message for message in FOUND if not is_well_formed(message)] == []


def is_well_formed(message: Message) -> bool:
    """The full stops come by themselves, between message and hint."""
    hint = message.hint
    return (
        "\n" not in message.text + hint
        and not message.text.removesuffix("…").endswith((".", "!"))
        and not hint.endswith(".")
        and (not hint or hint[0].isupper() or hint[0] == "…")
    )


def run(*arguments: str, debug: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)} | ({"MVSTYLIZER_DEBUG": debug} if debug else {})
    command = [sys.executable, "-m", "mvstylizer_cli", *arguments]
    return subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, env=environment, timeout=120
    )


BROKEN = ("stylize", "nowhere.mp4", "--style", "nowhere.jpg", "--out", "out.mp4")


def test_debug_shows_where_it_went_wrong() -> None:
    plain = run(*BROKEN)
    assert plain.returncode == 1
    assert plain.stderr.count("\n") == 1
    for told in (run("--debug", *BROKEN), run(*BROKEN, debug="1")):
        assert told.returncode == 1
        assert "Traceback" in told.stderr
        assert told.stderr.endswith(plain.stderr)
