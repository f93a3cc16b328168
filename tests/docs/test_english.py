"""Code and documentation are free of the phrases that make English read like a translation.

The search covers every tracked Python, Markdown, HTML and JavaScript file but this one. When it finds a
phrase, rewrite the whole sentence, shorter, instead of replacing the word.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENDINGS = (".py", ".md", ".html", ".js")
PHRASES = {
    r"mend(s|ed|ing)?": "fix",
    r"left away|leaves? (\S+ )?away|leaving (\S+ )?away": "omitted; defaults to",
    r"(?<!there\s)(is|are|was|were) no (?!longer|more|less)[a-z]+": "is not a",
    r"beside": "next to, with, in parallel",
    r"behind": "after, next, in",
    r"told": "given, specified; unless set otherwise",
    r"whoever": "anyone who",
    r"takes? upon": "the limits of",
    r"belongs? into": "put it in, isolate it",
    r"of before": "previous, earlier",
    r"meets? (a |the )?(neural )?network": "goes through the network",
    r"shall": "must, should, is to",
    r"the shipped one": "the bundled model",
    r"growing pauses": "exponential backoff",
    r"(and )?then meant": "then promoted",
    r"(was|is|of) no use": "retries are exhausted",
    r"(network|port) of its own": "isolated network",
    r"faces? a network": "allow a public address",
    r"all the same": "anyway; even so",
    r"without a trace": "fully cleaned up",
    r"gate judges": "evaluation crop size",
}
CONSTANTS = re.compile(r"\b_?(MOST|LEAST|LONGEST|SHORTEST)_[A-Z]\w*")
# A phrase may continue on the next line, after a comment marker.
GAP = r"(?:\s+(?:(?:#|//|\*|>)\s+)?)"
FOLDERS = (
    "mvstylizer",
    "mvstylizer_cli",
    "training",
    "export",
    "edge_triton",
    "device_runtime",
    "fl",
    "studio",
    "benchmarks",
    "examples",
    "models",
    "docs",
    "tests",
    ".",
)


def compiled(phrase: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{phrase.replace(' ', GAP)})\b", re.IGNORECASE)


PATTERNS = {compiled(phrase): better for phrase, better in PHRASES.items()}


def tracked(folder: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", folder], cwd=ROOT, capture_output=True, text=True, check=True
    )
    paths = [ROOT / name for name in listed.stdout.split("\0") if name.endswith(ENDINGS)]
    if folder == ".":
        paths = [path for path in paths if path.parent == ROOT]
    return [path for path in paths if path != Path(__file__).resolve() and path.exists()]


def hits(path: Path) -> Iterator[str]:
    text = path.read_text()
    if path.suffix == ".md":  # old names of options and keys, as code
        text = re.sub(r"`[\w.-]+`", lambda code: "`" * len(code[0]), text)
    for pattern, better in PATTERNS.items():
        for found in pattern.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            phrase = " ".join(found[0].split())
            yield f"{path.relative_to(ROOT)}:{line}: {phrase!r}, better: {better}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_phrase_reads_like_a_translation(folder: str) -> None:
    paths = tracked(folder)
    assert paths
    found = [hit for path in paths for hit in hits(path)]
    assert not found, f"{len(found)} phrases:\n" + "\n".join(found)


@pytest.mark.parametrize("folder", FOLDERS)
def test_limits_are_named_max_and_min(folder: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {name[0]}"
        for path in tracked(folder)
        for name in CONSTANTS.finditer(path.read_text())
    ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("how to mend it", True),
        ("what we recommend", False),
        ("it is no video", True),
        ("there is no video", False),
        ("it is no longer there", False),
        ("the option, left\n    # away", True),
        ("what it\n* takes upon\n* itself", True),
        ("left_behind", False),
    ],
)
def test_the_search_finds_phrases_and_spares_plain_english(text: str, is_found: bool) -> None:
    assert any(pattern.search(text) for pattern in PATTERNS) is is_found
