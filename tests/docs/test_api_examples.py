"""The examples of the API pages, run as doctests, and the README's ten lines of Python."""

from __future__ import annotations

import doctest
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import pytest

ROOT = Path(__file__).parents[2]
API = ROOT / "docs" / "api"
PARSER = doctest.DocTestParser()
EDGE = "127.0.0.1:8001"  # the address that the page of the client shows
MARKS = {
    "device_runtime": [pytest.mark.slow],
    "edge_client": [pytest.mark.slow, pytest.mark.server],
    "export": [pytest.mark.slow, pytest.mark.long],
    "training": [pytest.mark.slow],
}
PAGES = [
    pytest.param(page, id=page.stem, marks=MARKS.get(page.stem, []))
    for page in sorted(API.glob("*.md"))
    if page.stem != "index"
]


@pytest.fixture
def workplace(street: Path, dusk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory that the pages describe."""
    (tmp_path / "models").symlink_to(ROOT / "models")
    (tmp_path / "street.mp4").symlink_to(street)
    (tmp_path / "dusk.jpg").symlink_to(dusk)
    with av.open(str(street)) as video:
        frame = next(video.decode(video=0)).to_ndarray(format="bgr24")
    photos = tmp_path / "photos"
    photos.mkdir()
    cv2.imwrite(str(tmp_path / "street.jpg"), frame)
    cv2.imwrite(str(photos / "street.png"), frame)
    (photos / "dusk.jpg").symlink_to(dusk)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def edge(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of an edge where a page needs one."""
    if "edge_client" not in request.node.callspec.id:
        yield EDGE
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "mvstylizer_cli", "serve", "--port", address.rpartition(":")[2]]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as served:
        try:
            assert served.stderr is not None
            assert any(line.startswith("Serving on") for line in served.stderr)
            yield address
        finally:
            served.terminate()
            served.communicate()


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.usefixtures("workplace")
def test_the_examples_of_an_api_page_print_what_it_shows(page: Path, edge: str) -> None:
    text = page.read_text().replace(EDGE, edge)
    blocks = re.findall(r"^```pycon\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    examples = PARSER.get_doctest("\n".join(blocks), {}, page.stem, str(page), 0)
    assert examples.examples
    output: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(examples, out=output.append)
    assert result.failed == 0, "".join(output)


@pytest.mark.slow
def test_the_python_example_of_the_readme_runs(workplace: Path) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.M)
    assert example.count("\n") <= 10
    (workplace / "samples").symlink_to(ROOT / "samples")
    exec(example, {})
    assert (workplace / "street-dusk.mp4").stat().st_size > 1000


def test_every_public_name_has_a_documented_home() -> None:
    import mvstylizer

    index = (API / "index.md").read_text()
    pages = "\n".join(page.read_text() for page in API.glob("*.md"))
    assert [name for name in mvstylizer.__all__ if f"`{name}`" not in index] == []
    for module in set(mvstylizer._MODULES.values()):
        assert f"::: {module}\n" in pages
