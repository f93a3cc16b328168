"""What is made of results: the README's tables, the report, the commands."""

from __future__ import annotations

import json
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from typer.testing import CliRunner

from benchmarks import figure5, table1
from benchmarks.data import footage
from benchmarks.harness.readme import ReadmeError, rewritten
from benchmarks.harness.report import Film
from benchmarks.harness.report import page as report_page
from benchmarks.harness.result import Result, ResultError, Row, Spread, write
from benchmarks.harness.side_by_side import SideBySide
from mvstylizer_cli import main as cli
from tests.benchmarks.harness.test_harness import ABOUT

ROOT = Path(__file__).parents[3]
TOGETHER = """() => {
    const [before, after] = document.querySelectorAll("video");
    return !after.seeking && Math.abs(before.currentTime - after.currentTime) < 0.05;
}"""
WHO = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
CUT_OFF = """() => [...document.querySelectorAll(".scroll")].filter(box => box.scrollWidth > box.clientWidth)
    .map(box => box.previousElementSibling.textContent)"""
RESULTS = ROOT / "benchmarks" / "results"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    case = {"model": "<mine>", "device": "cpu", "resolution": "512x256", "reply": "image"}
    one = Result("table1", table1.FIGURES, [Row(dict(case), {"seconds": Spread(0.5, 0.4, 0.6, 3)})])
    rows = [
        Row(
            {"resolution": "512x256", "way": way, "interval": interval},
            {
                "as_the_paper_counts": interval * 0.9,
                "everything_counted": interval * 0.5,
                "paper": interval * 0.8,
            },
        )
        for way in ("warp", "transfer")
        for interval in (5, 30)
    ]
    five = Result("figure5", figure5.FIGURES, rows, notes=["one machine"])
    for result in (one, five):
        write(result.document(ABOUT), folder / f"{result.bench}.json")
    return folder


@pytest.mark.parametrize("name", ["README.md", "docs/figures.md", "models/MODEL_CARD.md"])
def test_tables_in_the_docs_match_the_results(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "<!-- bench:" in text
    assert rewritten(text, RESULTS) == text, "run: mvstylizer bench readme"


def test_only_blocks_are_updated(results: Path) -> None:
    text = "a\n<!-- bench:table1/0 -->\nold\n<!-- /bench -->\nb\n<!-- bench:memory -->\n<!-- /bench -->\n"
    once = rewritten(text, results)
    assert "| <mine>, image | cpu | 0.500 (0.400–0.600) |" in once
    assert "old" not in once
    assert "Not measured yet: `mvstylizer bench memory`." in once
    assert once.startswith("a\n<!-- bench:table1/0 -->\n")
    assert "a cpu, 2 threads, 2026-01-02, 012345678, quick settings" in once
    assert rewritten(once, results) == once
    with pytest.raises(ReadmeError, match="no table 7"):
        rewritten(text.replace("table1/0", "table1/7"), results)


def test_the_summary_takes_its_figures_from_the_results(results: Path) -> None:
    text = rewritten("<!-- bench:summary -->\n<!-- /bench -->\n", results)
    rows = {line.split(" | ")[0].removeprefix("| "): line.split(" | ")[1:3] for line in text.splitlines()}
    assert rows["key frame on the edge, 1080p ↓"] == ["–", "paper's GPU: –"], "not measured"
    shipped = rewritten("<!-- bench:summary -->\n<!-- /bench -->\n", RESULTS)
    assert "–" not in shipped, "each line finds its figure"
    document = json.loads((RESULTS / "memory.json").read_text())
    (peak,) = (row["figures"]["peak_mib"] for row in document["results"] if row["case"] == {"frames": 3000})
    assert f"| memory of 3,000 frames ↓ | {peak:.0f} MiB |" in shipped


def test_each_section_of_the_report_names_its_machine(results: Path, tmp_path: Path) -> None:
    for path in results.iterdir():
        document = json.loads(path.read_text())
        document["metadata"]["machine"]["cpu"] = f"the cpu of {path.stem}"
        (tmp_path / path.name).write_text(json.dumps(document))
    for section in report_page(tmp_path).split("<section ")[1:]:
        bench = section.partition('"')[2].partition('"')[0]
        open_part = section.partition("<details>")[0]
        assert f"the cpu of {bench}" in open_part, "visible without opening details"


def test_the_report_is_one_file_with_all_figures(results: Path) -> None:
    text = report_page(results)
    links: list[str] = []
    opened: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            opened.append(tag)
            links.extend(value or "" for name, value in attrs if name in ("src", "href", "xlink:href"))

    Reader().feed(text)
    assert all(link.startswith(("#", "data:")) for link in links)
    assert opened.count("svg") == 4
    assert opened.count("section") == 3
    for wanted in (
        "0.500",
        "&lt;mine&gt;, image",
        "27.0",
        "15.0",
        "0.962",
        "a cpu, 2 cores",
        "0123456789abcdef",
        "one machine",
    ):
        assert wanted in text
    with pytest.raises(ResultError, match="contains no results"):
        report_page(results / "none")


@pytest.mark.browser
@pytest.mark.slow
def test_the_report_opens_from_disk(results: Path, page: Page, bikes: Path, tmp_path: Path) -> None:
    filmed = footage.frames(bikes, 12)
    clips = [
        footage.write_clip(tmp_path / f"{name}.mp4", iter(frames), 320, 136)
        for name, frames in (("before", filmed), ("after", [255 - frame for frame in filmed]))
    ]
    path = tmp_path / "report.html"
    apart = {"transfer": [0.0, 1.0, 2.0], "warp": [0.0, 4.0, 3.0]}
    tiles = SideBySide(
        "<Cuts>", clips[0], [0, 6], [6], {way: 4 * levels for way, levels in apart.items()}, "lite"
    )
    path.write_text(report_page(results, Film(clips[0], clips[1], "two clips"), [tiles]))
    page.goto(path.as_uri())
    page.wait_for_function(
        "[...document.querySelectorAll('video')].every(v => v.readyState >= 2)", timeout=120_000
    )
    page.locator(".compare input").fill("20")
    assert page.locator(".compare").evaluate("box => box.style.getPropertyValue('--x')") == "20%"
    page.evaluate("document.querySelector('video').pause()")
    page.evaluate("document.querySelector('video').currentTime = 0.2")
    page.wait_for_function(TOGETHER, timeout=120_000)
    page.locator(".timeline").click(position={"x": 1, "y": 5})
    expect(page.locator(".timeline")).to_have_attribute("aria-valuenow", "0", timeout=120_000)
    page.locator(".timeline").press("ArrowRight")
    expect(page.locator(".timeline")).to_have_attribute("aria-valuenow", "1", timeout=120_000)
    for width in (390, 1280, 1600):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(CUT_OFF) == [], "tables fit"
    colors = set()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colors.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(colors) == 2
    expect(page.locator("section")).to_have_count(4)


def test_results_are_compared_with_those_of_a_commit(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed = tmp_path / "benchmarks" / "results"
    shutil.copytree(results, committed)
    monkeypatch.chdir(tmp_path)
    for words in (
        ["init", "--quiet"],
        ["add", "."],
        [*WHO, "commit", "--quiet", "-m", "1"],
        ["tag", "v0.0.1"],
    ):
        subprocess.run(["git", *words], check=True)
    document = json.loads((committed / "table1.json").read_text())
    document["results"][0]["figures"]["seconds"] = 2.0
    (committed / "table1.json").write_text(json.dumps(document))
    done = CliRunner().invoke(cli.app, ["bench", "compare", "v0.0.1", str(committed), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["counts"]["worse"] == 1
    for unknown in ("v9", "--output=x"):
        wrong = CliRunner().invoke(cli.app, ["bench", "compare", "--json", "--", unknown, str(committed)])
        assert wrong.exit_code == 1


def test_commands_on_stored_results(results: Path, tmp_path: Path) -> None:
    runner = CliRunner()

    def run(*words: str) -> tuple[int, str]:
        done = runner.invoke(cli.app, ["bench", *words], catch_exceptions=False)
        return done.exit_code, done.stdout

    kept = results / "table1.json"
    slower = json.loads(kept.read_text())
    slower["results"][0]["figures"]["seconds"] = 2.0
    (tmp_path / "slower.json").write_text(json.dumps(slower))
    code, text = run("compare", str(kept), str(tmp_path / "slower.json"), "--json")
    assert code == 0
    assert json.loads(text)["counts"]["worse"] == 1
    assert run("compare", str(kept), str(tmp_path / "slower.json"), "--strict")[0] == 1
    assert run("compare", str(kept), str(kept), "--strict")[0] == 0

    folder = tmp_path / "later"
    shutil.copytree(results, folder)
    shutil.copy(tmp_path / "slower.json", folder / "table1.json")
    code, text = run("compare", str(results), str(folder), "--json")
    (worse,) = (c for c in json.loads(text)["changes"] if c["verdict"] == "worse")
    assert worse["case"].startswith("table1: ")
    assert worse["after"] == 2.0

    target = tmp_path / "READ.md"
    target.write_text("<!-- bench:table1 -->\n<!-- /bench -->\n")
    where = ["--file", str(target), "--results", str(results)]
    assert run("readme", *where, "--check")[0] == 1
    assert run("readme", *where)[0] == 0
    assert run("readme", *where, "--check")[0] == 0
    assert "0.500" in target.read_text()

    out = tmp_path / "report.html"
    code, text = run("report", "--results", str(results), "--out", str(out), "--no-film", "--json")
    assert json.loads(text) == {"report": str(out)}
    assert out.read_text().startswith("<!doctype html>")
