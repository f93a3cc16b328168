"""Mutated files of a real clip: each yields either a complete result or a one-line error.

FFmpeg is written in C, so a child process handles the files: a crash is visible, and it must report progress
within 30 seconds per file.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from device_runtime.media.photo import write_photo
from tests.device_runtime.clips import write_clip

ROOT = Path(__file__).parents[2]
MUTATIONS = 50  # of each of four files
HANG_S = 30

PROGRAM = """
import os, sys
from pathlib import Path
from device_runtime.options import StylizeOptions
from device_runtime.pipeline import stylize_video
from mvstylizer.bundle import default_bundle, load_bundle
from mvstylizer.errors import MVStylizerError
from tests.device_runtime.test_fidelity import PlainStylizer, times

folder, style = map(Path, sys.argv[1:])
bundle, out = load_bundle(default_bundle()), folder / "out" / "out.mp4"
out.parent.mkdir()
for source in sorted(folder.glob("*.*")):
    print("begin", source.name, flush=True)
    try:
        options = StylizeOptions("every:4")
        report = stylize_video(source, style, out, options=options, stylizer=PlainStylizer(), bundle=bundle)
    except MVStylizerError as error:
        assert "\\n" not in str(error), error
        assert not os.listdir(out.parent), os.listdir(out.parent)
        print("refused", source.name, error, flush=True)
        continue
    assert os.listdir(out.parent) == ["out.mp4"]
    assert report.frames == len(times(out)) > 0
    out.unlink()
    print("done", source.name, report.frames, flush=True)
"""


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Flip bits, overwrite, delete, duplicate or truncate, in the headers as often as in the pictures."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        size = len(changed)
        place = int(rng.integers(size) if rng.random() < 0.5 else rng.integers(min(size, 2000)))
        length = int(rng.integers(1, 64))
        kind = rng.integers(6)
        if kind == 0:
            changed[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            changed[place : place + length] = rng.bytes(length)
        elif kind == 2:
            changed[place : place + 4] = [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"][
                rng.integers(3)
            ]
        elif kind == 3:
            del changed[place : place + length]
        elif kind == 4:
            changed[place:place] = changed[place : place + length]
        elif size > 200:
            del changed[max(100, place) :]
    return bytes(changed)


@pytest.fixture
def mutants(bikes: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "mutants"
    folder.mkdir()
    with av.open(str(bikes)) as video:
        scene = [frame.to_ndarray(format="rgb24")[:96, :128] for frame in video.decode(video=0)][24:36]

    def picture(index: int, width: int, height: int) -> NDArray[np.uint8]:
        return np.ascontiguousarray(scene[index])

    rng = np.random.default_rng(20)
    for suffix in ("mp4", "mkv", "ts", "avi"):
        clip = write_clip(tmp_path / f"clip.{suffix}", size=(128, 96), picture=picture, sound="aac")
        content = clip.read_bytes()
        for number in range(MUTATIONS):
            (folder / f"{number:03}.{suffix}").write_bytes(mutated(content, rng))
    return folder


@pytest.mark.long
@pytest.mark.slow
def test_two_hundred_mutated_files_neither_crash_nor_hang_nor_leave_parts(
    mutants: Path, tmp_path: Path
) -> None:
    write_photo(tmp_path / "style.png", data.coffee())
    command = [sys.executable, "-c", PROGRAM, str(mutants), str(tmp_path / "style.png")]
    said: list[str] = []
    popen = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with popen as child:
        assert child.stdout is not None
        watchdog = threading.Timer(HANG_S, child.kill)
        watchdog.start()
        for line in child.stdout:
            said.append(line)
            if line.startswith("begin"):
                watchdog.cancel()
                watchdog = threading.Timer(HANG_S, child.kill)
                watchdog.start()
        watchdog.cancel()
    assert child.returncode == 0, "".join(said[-20:])
    done, refused = (sum(line.startswith(word) for line in said) for word in ("done", "refused"))
    assert done + refused == 4 * MUTATIONS
    assert done > 20
    assert refused > 0
