"""Every error message that the user can fix, read from the code for docs/troubleshooting.md and for tests.

Error classes are found by name, across all files: everything derived from `MVStylizerError` is for the user.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDERS: Final = (
    "mvstylizer",
    "mvstylizer_cli",
    "training",
    "export",
    "edge_triton",
    "device_runtime",
    "fl",
    "studio",
    "benchmarks",
)
BASE: Final = "MVStylizerError"
BUILDS_ITS_MESSAGE: Final = {"MissingExtraError"}  # its arguments are names, not a message and a hint
MARKER: Final = "<!-- every message -->"


class Message(NamedTuple):
    """A message and its hint, with … in place of each value."""

    text: str
    hint: str
    file: str
    line: int


def files() -> list[Path]:
    """Return the kit's own Python files."""
    return sorted(path for name in FOLDERS for path in (ROOT / name).rglob("*.py"))


def error_classes(trees: Iterable[ast.Module]) -> set[str]:
    """Return the names of `MVStylizerError` and all classes derived from it."""
    bases = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    known = {BASE}
    while found := {name for name, parents in bases.items() if parents & known} - known:
        known |= found
    return known


def messages() -> list[Message]:
    """Return every message in the code, sorted by file."""
    trees = {path: ast.parse(path.read_text()) for path in files()}
    classes = error_classes(trees.values()) - BUILDS_ITS_MESSAGE
    return [message for path, tree in trees.items() for message in _messages_of(path, tree, classes)]


def literals(tree: ast.Module) -> str:
    """Return every string of a module, one per line, with … in place of each value."""
    return "\n".join(filter(None, (_text(node) for node in ast.walk(tree) if isinstance(node, ast.expr))))


def on_page_markdown(markdown: str, **_: object) -> str:
    """Insert the table where a page has the marker. MkDocs calls this."""
    return markdown.replace(MARKER, _table(messages())) if MARKER in markdown else markdown


def _messages_of(path: Path, tree: ast.Module, classes: set[str]) -> Iterator[Message]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in classes:
            texts = [_text(argument) for argument in node.args[:2]]
            if texts and texts[0]:
                hint = texts[1] if len(texts) > 1 else ""
                yield Message(texts[0], hint, str(path.relative_to(ROOT)), node.lineno)


def _text(node: ast.expr) -> str:
    """Return the text of a string literal or f-string, or an empty string for any other expression."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or "…" for part in node.values)
    return ""


def _table(found: Iterable[Message]) -> str:
    rows = sorted({(_cell(each.text), _cell(each.hint), each.file) for each in found if each.text != "…"})
    lines = [f"| {text} | {hint} | `{file}` |" for text, hint, file in rows]
    return "\n".join(["| message | hint | raised in |", "|---|---|---|", *lines])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("`", "").replace("*", "\\*")
