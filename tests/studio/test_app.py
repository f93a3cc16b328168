"""The studio's HTTP API."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import cv2
import httpx
import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from tests.conftest import CLIP_FRAMES as FRAMES
from tests.device_runtime.media.test_photo_size import png
from tests.studio.conftest import MAX_UPLOAD_MB, ROOT, Studio, running


def wait(studio: Studio) -> dict[str, object]:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        job: dict[str, object] = studio.http.get("/api/state").json()["job"]
        if job["state"] != "running":
            return job
        time.sleep(0.1)
    raise AssertionError("the job does not end")


def command_line(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mvstylizer_cli", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_the_page_loads_nothing_from_other_sites(studio: Studio) -> None:
    page = studio.http.get("/")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for path in ("studio.css", "studio.js", "preview.js", "viewer.js", "icon.svg"):
        part = studio.http.get(f"/{path}")
        assert part.status_code == 200, path
        outside = part.text.replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert "http:" not in outside, path
        assert "https:" not in outside, path
    assert "//" not in page.text.replace("<!--", "")


@pytest.mark.slow
def test_a_video_is_stylized(studio: Studio, street: Path, dusk: Path, tmp_path: Path) -> None:
    assert studio.put("source", "street.mp4", street.read_bytes()).status_code == 201
    shown = studio.put("style", "dusk.jpg", dusk.read_bytes()).json()
    assert (shown["name"], shown["kind"], shown["width"], shown["height"]) == ("dusk.jpg", "photo", 960, 640)
    started = studio.http.post("/api/job", json={"key_frames": "every:12", "interpolation": "warp"})
    assert started.status_code == 202
    busy = studio.http.post("/api/job", json={})
    assert busy.status_code == 409
    assert "running" in busy.json()["error"]
    assert studio.put("style", "dusk.jpg", dusk.read_bytes()).status_code == 409
    job = wait(studio)
    assert job["state"] == "done", job["error"]
    report = job["report"]
    assert isinstance(report, dict)
    assert report["key_frame_indices"] == [0, 12, 24, 30]
    assert job["done"] == FRAMES
    fetched = studio.http.get("/api/result?download")
    assert 'filename="street-dusk.mp4"' in fetched.headers["content-disposition"]
    (tmp_path / "out.mp4").write_bytes(fetched.content)
    with av.open(str(tmp_path / "out.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == FRAMES
    part = studio.http.get("/api/result", headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")


def test_one_frame_is_shown_at_each_match(studio: Studio, street: Path, dusk: Path) -> None:
    assert studio.put("source", "street.mp4", street.read_bytes()).status_code == 201
    assert studio.put("style", "dusk.jpg", dusk.read_bytes()).status_code == 201

    def shown(name: str, at: object) -> NDArray[np.uint8]:
        reply = studio.http.get(f"/api/preview/{name}", params={"at": at})
        assert (reply.status_code, reply.headers["content-type"]) == (200, "image/jpeg"), reply.text
        return np.asarray(cv2.imdecode(np.frombuffer(reply.content, np.uint8), cv2.IMREAD_COLOR), np.uint8)

    with av.open(str(street)) as video:
        frames = [frame.to_ndarray(format="bgr24") for frame in video.decode(video=0)]
    for at, index in ((0, 0), (0.4, 10), (99, FRAMES - 1)):
        assert np.abs(shown("original", at).astype(int) - frames[index]).mean() < 3
    pictures = [shown(name, 0.4).astype(int) for name in ("original", "look", "palette")]
    assert all(np.abs(a - b).mean() > 1 for a, b in itertools.combinations(pictures, 2))
    for path, said in (
        ("both?at=1", "'both' is not one of"),
        ("look?at=soon", "not a time"),
        ("look?at=nan", "not"),
    ):
        refused = studio.http.get(f"/api/preview/{path}")
        assert refused.status_code == 400
        assert said in refused.json()["error"]


def test_a_photo_works_too(studio: Studio, dusk: Path) -> None:
    assert studio.put("source", "a.jpg", dusk.read_bytes()).json()["kind"] == "photo"
    assert studio.put("style", "b.jpg", dusk.read_bytes()).status_code == 201
    assert len(studio.http.get("/api/preview/auto").content) > 1000
    assert studio.http.post("/api/job", json={"strength": 0}).status_code == 202
    assert wait(studio)["state"] == "done"
    assert studio.http.get("/api/result").headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize(("role", "name"), [("source", "text.mp4"), ("style", "text.jpg")])
def test_a_bad_file_gets_the_command_lines_own_words(
    studio: Studio, street: Path, dusk: Path, tmp_path: Path, role: str, name: str
) -> None:
    bad = tmp_path / name
    bad.write_text("neither a video nor a photo\n" * 40)
    files = {"source": street, "style": dusk, role: bad}
    done = command_line("stylize", files["source"], "--style", files["style"], "--out", tmp_path / "o.mp4")
    assert done.returncode == 1
    reply = studio.put(role, name, bad.read_bytes())
    assert reply.status_code == 422
    assert f"mvstylizer: {reply.json()['error']}" == done.stderr.strip().replace(f"{tmp_path}/", "")


def test_a_large_upload_is_refused_politely(studio: Studio) -> None:
    large = b"\0" * (MAX_UPLOAD_MB * 1_000_000 + 1)
    reply = studio.put("source", "large.mp4", large)
    assert reply.status_code == 413
    assert f"{MAX_UPLOAD_MB} MB" in reply.json()["error"]
    assert "--max-upload" in reply.json()["error"]

    def unannounced() -> object:
        for start in range(0, len(large), 1 << 16):
            yield large[start : start + (1 << 16)]

    reply = studio.http.put("/api/files/source?name=large.mp4", content=unannounced())  # type: ignore[arg-type]
    assert reply.status_code == 413


def test_a_small_file_of_gigapixels_is_refused(studio: Studio) -> None:
    bomb = png(30_000, 30_000)
    for role, name in (("style", "bomb.png"), ("source", "bomb.png"), ("style", "bomb.jpg")):
        reply = studio.put(role, name, bomb)
        assert reply.status_code == 413
        assert reply.json()["error"].startswith(f"{name} has 30000×30000 pixels")
    assert psutil.Process(studio.process.pid).memory_info().rss < 1_500_000_000


def test_options_have_a_size_limit(studio: Studio) -> None:
    reply = studio.http.post("/api/job", content=b"{" + b" " * 100_000)
    assert reply.status_code == 413
    assert "64 kB" in reply.json()["error"]
    deep = b"[" * 60_000
    assert studio.http.post("/api/job", content=deep).status_code == 400


def test_a_full_disk_is_one_line(studio: Studio, dusk: Path) -> None:
    process = psutil.Process(studio.process.pid)
    before = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        reply = studio.put("style", "dusk.jpg", dusk.read_bytes())
    finally:
        process.rlimit(psutil.RLIMIT_FSIZE, before)
    assert reply.status_code == 507
    assert "no room" in reply.json()["error"]
    assert studio.put("style", "dusk.jpg", dusk.read_bytes()).status_code == 201


def test_other_origins_are_refused(studio: Studio) -> None:
    for headers in ({"Origin": "http://elsewhere.example"}, {"Origin": "null"}):
        reply = studio.http.post("/api/job", json={}, headers=headers)
        assert reply.status_code == 403, headers
    assert studio.http.get("/api/state", headers={"Host": "elsewhere.example"}).status_code == 400
    own = studio.http.get("/api/state", headers={"Origin": studio.url})
    assert own.status_code == 200


def test_wrong_usage_is_one_sentence(studio: Studio, dusk: Path) -> None:
    studio.put("source", "a.jpg", dusk.read_bytes())
    studio.put("style", "b.jpg", dusk.read_bytes())
    for wrong in ({"key_frames": "sometimes"}, {"interpolation": "magic"}, {"strength": 7}, {"strength": []}):
        reply = studio.http.post("/api/job", json=wrong)
        assert reply.status_code == 400, wrong
        assert "\n" not in reply.json()["error"]
    assert studio.http.post("/api/job", content=b"[]").status_code == 400
    assert studio.http.put("/api/files/else", content=b"").status_code == 404
    assert studio.http.get("/api/nothing").status_code == 404


@pytest.mark.slow
def test_cancel(studio: Studio, bikes: Path, dusk: Path) -> None:
    studio.put("source", "bikes.mp4", bikes.read_bytes())
    studio.put("style", "dusk.jpg", dusk.read_bytes())
    assert studio.http.post("/api/job", json={}).status_code == 202
    assert studio.http.delete("/api/job").json()["job"]["cancelling"] is True
    assert wait(studio)["state"] == "cancelled"
    assert studio.http.get("/api/result").status_code == 404


@pytest.mark.slow
@pytest.mark.server
def test_ctrl_c_during_a_job_cleans_up(bikes: Path, dusk: Path, tmp_path: Path) -> None:
    with running(tmp_path) as studio:
        family = psutil.Process(studio.process.pid).children(recursive=True)
        assert any("triton" in process.name() for process in family)
        studio.put("source", "bikes.mp4", bikes.read_bytes())
        studio.put("style", "dusk.jpg", dusk.read_bytes())
        assert studio.http.post("/api/job", json={}).status_code == 202
        assert list(tmp_path.glob("mvstylizer-studio-*"))
        assert studio.stop(signal.SIGINT) == 0
        assert psutil.wait_procs(family, timeout=60)[1] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_no_video_is_left_by_a_closed_terminal_or_a_killed_studio(bikes: Path, tmp_path: Path) -> None:
    with running(tmp_path, "--local") as studio:
        studio.put("source", "bikes.mp4", bikes.read_bytes())
        studio.stop(signal.SIGKILL)
    (left,) = tmp_path.glob("mvstylizer-studio-*")
    with running(tmp_path, "--local") as studio:
        assert not left.exists()
        studio.put("source", "bikes.mp4", bikes.read_bytes())
        assert list(tmp_path.rglob("*.mp4"))
        assert studio.stop(signal.SIGHUP) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_taken_port_is_named_before_anything_starts(studio: Studio) -> None:
    port = httpx.URL(studio.url).port
    done = command_line("studio", "--port", port)
    assert done.returncode == 1
    assert f"Port {port} cannot be used" in done.stderr
