"""The page in headless Chromium, used like a person would."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import CLIP_FRAMES as FRAMES
from tests.conftest import PATIENCE_MS
from tests.studio.conftest import MAX_UPLOAD_MB, Studio

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CENTER = """(selector) => {
    const video = document.querySelector(selector);
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    const pen = canvas.getContext("2d");
    pen.drawImage(video, 0, 0);
    return Array.from(pen.getImageData(0, 0, canvas.width, canvas.height).data);
}"""


def give(page: Page, role: str, path: Path) -> None:
    page.set_input_files(f"[data-role={role}] input", path)


def until(page: Page, condition: str) -> None:
    """Wait for a condition; Playwright's own waiting would need the page's policy to allow eval."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(50)


def test_from_two_files_to_a_comparison(page: Page, studio: Studio, street: Path, dusk: Path) -> None:
    page.goto(studio.url)
    give(page, "source", street)
    expect(page.locator("[data-role=source] small")).to_contain_text("320 × 136")
    give(page, "style", dusk)
    expect(page.locator("#go")).to_be_enabled()
    until(page, "document.querySelectorAll('.variant:not(.waiting) .stylized[src]').length === 3")
    widths = page.locator(".variant img").evaluate_all("(images) => images.map((each) => each.naturalWidth)")
    assert widths == [320] * 6
    page.locator("[data-match=palette]").click()
    expect(page.locator("[name=match][value=palette]")).to_be_checked()
    page.locator("[name=strength]").fill("40")
    assert page.locator("[data-match=look] .stylized").evaluate("(e) => getComputedStyle(e).opacity") == "0.4"
    page.locator("[name=strength]").fill("100")
    page.locator("[name=policy][value=every]").check()
    page.locator("[name=every]").fill("12")
    page.locator("#go").click()
    expect(page.locator(".result")).to_be_visible()
    expect(page.locator("#ticks i")).to_have_count(4)  # 0, 12, 24 and the cut at 30
    expect(page.locator("#keys-text")).to_contain_text(f"4 key frames of {FRAMES}")
    until(page, "after.readyState >= 2 && before.readyState >= 2")

    page.locator("#play").click()  # it began to play by itself
    expect(page.locator("#play")).to_have_attribute("aria-label", "Play")
    page.locator("#next-key").click()
    until(page, "!after.seeking && !before.seeking && after.currentTime === before.currentTime")
    before, after = page.evaluate(CENTER, "#before"), page.evaluate(CENTER, "#after")
    assert len(before) == len(after) == 320 * 136 * 4
    assert sum(abs(a - b) for a, b in zip(before, after, strict=True)) / len(before) > 3

    shape = page.locator("#compare").bounding_box()
    assert shape
    page.mouse.click(shape["x"] + shape["width"] / 4, shape["y"] + shape["height"] / 2)
    assert float(page.locator("#split").input_value()) == pytest.approx(25, abs=2)
    with page.expect_download() as download:
        page.locator("#download").click()
    assert download.value.suggested_filename == "street-dusk.mp4"
    page.reload()
    expect(page.locator(".result")).to_be_visible()
    page.locator("#again").click()
    expect(page.locator(".preview")).to_be_visible()
    page.locator("#back").click()
    expect(page.locator(".result")).to_be_visible()


def test_bad_and_large_files_are_explained(page: Page, studio: Studio, tmp_path: Path) -> None:
    page.goto(studio.url)
    text = tmp_path / "text.mp4"
    text.write_text("no video\n" * 100)
    give(page, "source", text)
    expect(page.get_by_role("alert")).to_contain_text("text.mp4 cannot be read as a video")
    large = tmp_path / "large.mp4"
    large.write_bytes(b"\0" * (MAX_UPLOAD_MB * 1_000_000 + 1))
    give(page, "source", large)
    expect(page.get_by_role("alert")).to_contain_text(f"limit is {MAX_UPLOAD_MB} MB")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 768, 1440])
def test_the_layout_fits_and_text_is_readable(page: Page, studio: Studio, width: int, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(studio.url)
    expect(page.locator("#backend")).not_to_be_empty()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for selector in ("body", "#setup .explained", "#backend"):
        assert page.evaluate(CONTRAST, selector) >= 4.5, selector


# WCAG's contrast ratio of a text and its nearest opaque background.
CONTRAST = """(selector) => {
    const light = (color) => {
        const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map((v) => {
            const s = v / 255;
            return s <= 0.03928 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const text = document.querySelector(selector);
    let ground = text;
    while (getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)") ground = ground.parentElement;
    const pair = [light(getComputedStyle(text).color), light(getComputedStyle(ground).backgroundColor)];
    return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
}"""
