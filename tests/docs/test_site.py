"""The documentation builds as a site, strictly: no broken link, and nothing loaded from other hosts."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert built.returncode == 0, built.stderr
    return folder


def test_every_page_is_built(site: Path) -> None:
    sources = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    pages = {path.parent if path.stem == "index" else path.with_suffix("") for path in sources}
    assert pages == {path.parent.relative_to(site) for path in site.rglob("index.html")}
    assert not (site / "hooks").exists()


def test_pages_load_nothing_from_other_hosts(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = re.findall(
            r"<(?:script|img|link rel=\"stylesheet\")[^>]*(?:src|href)=\"([^\"]+)", page.read_text()
        )
        assert [address for address in loaded if "//" in address] == [], page


def test_the_table_of_errors_is_complete(site: Path) -> None:
    text = (site / "troubleshooting" / "index.html").read_text()
    assert "No phone is connected" in text
    assert text.count("<tr>") > 80


def test_api_pages_show_signatures_and_docstrings(site: Path) -> None:
    text = (site / "api" / "device_runtime" / "index.html").read_text()
    assert 'id="device_runtime.pipeline.stylize_video"' in text
    assert "Raises:" in text
