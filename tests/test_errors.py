"""Every user error is one line with a hint: checked over the whole source tree and on the command line."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

from docs.hooks.messages import BASE, ROOT, Message, error_classes, files, literals, messages

# Users never see these: they become a gRPC status or a warning. A ValueError is the caller's mistake; where
# an option can cause one, the command line turns it into wrong usage (exit 2).
NOT_FOR_USERS = {"StatusError", "TritonChannelClosedError", "UnsupportedError"}
FOUND = messages()
PAGE = ROOT / "docs" / "troubleshooting.md"


def test_every_error_class_derives_from_the_base_or_never_reaches_users() -> None:
    trees = [ast.parse(path.read_text()) for path in files()]
    known = error_classes(trees)
    strays = {
        node.name
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error") and not node.name.startswith("_")
        if node.name not in known and "ValueError" not in map(ast.unparse, node.bases)
    }
    assert strays <= NOT_FOR_USERS
    assert BASE in known
    assert len(known) > 20


def test_messages_of_every_package_are_found() -> None:
    assert len(FOUND) > 80
    packages = {message.file.partition("/")[0] for message in FOUND}
    assert packages >= {
        "mvstylizer",
        "training",
        "export",
        "edge_triton",
        "device_runtime",
        "fl",
        "studio",
        "benchmarks",
    }


def test_a_message_is_one_line_and_its_hint_one_sentence() -> None:
    assert [message for message in FOUND if not is_well_formed(message)] == []


def is_well_formed(message: Message) -> bool:
    """Full stops are added when the error is printed; hints start with a capital letter."""
    hint = message.hint
    return (
        "\n" not in message.text + hint
        and not message.text.removesuffix("…").endswith((".", "!"))
        and not hint.endswith(".")
        and (not hint or hint[0].isupper() or hint[0] == "…")
    )


def test_troubleshooting_quotes_messages_that_exist() -> None:
    headings = re.findall(r"^\*\*(`.*`)\*\*$", PAGE.read_text(), re.MULTILINE)
    quotes = {quote for heading in headings for quote in re.findall(r"`([^`]+)`", heading)}
    assert len(quotes) > 6
    text = "\n".join(literals(ast.parse(path.read_text())) for path in files())
    assert [quote for quote in quotes if quote not in text] == []


def run(*arguments: str, debug: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)} | ({"MVSTYLIZER_DEBUG": debug} if debug else {})
    command = [sys.executable, "-m", "mvstylizer_cli", *arguments]
    return subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, env=environment, timeout=120
    )


BROKEN = ("stylize", "nowhere.mp4", "--style", "nowhere.jpg", "--out", "out.mp4")


def test_debug_adds_the_traceback() -> None:
    plain = run(*BROKEN)
    assert plain.returncode == 1
    assert plain.stderr.count("\n") == 1
    for detailed in (run("--debug", *BROKEN), run(*BROKEN, debug="1")):
        assert detailed.returncode == 1
        assert "Traceback" in detailed.stderr
        assert detailed.stderr.endswith(plain.stderr)
