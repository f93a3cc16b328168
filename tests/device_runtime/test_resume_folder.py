from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from device_runtime.media.atomic_file import OutputError
from device_runtime.media.encoder import PictureEncoder
from device_runtime.media.reader import VideoReader
from device_runtime.media.video_info import VideoInfo
from device_runtime.media.writer import VideoWriter
from device_runtime.resume_folder import WorkFolder
from tests.device_runtime.clips import moving_square, write_clip

JOB = {"crf": 18}
PIECE = 7


@pytest.fixture
def info(tmp_path: Path) -> VideoInfo:
    with VideoReader(write_clip(tmp_path / "clip.mp4")) as reader:
        return reader.info


def add_piece(folder: WorkFolder, info: VideoInfo) -> None:
    encoder = PictureEncoder(info)
    first, step = folder.frames, round(1 / (info.rate * info.time_base))
    packets = []
    for index in range(first, first + PIECE):
        packets += encoder.encode(moving_square(index, info.width, info.height), index * step)
    packets += encoder.finish()
    folder.add(packets, frames=PIECE, key_frames=[first], fallback_key_frames=[])


@pytest.fixture
def folder(info: VideoInfo, tmp_path: Path) -> WorkFolder:
    """A folder as a run leaves it that was interrupted."""
    made = WorkFolder(tmp_path / "out.mp4", JOB)
    for _ in range(3):
        add_piece(made, info)
    made.close()
    return made


def test_pieces_are_read_back_unchanged(folder: WorkFolder, tmp_path: Path) -> None:
    again = WorkFolder(tmp_path / "out.mp4", JOB)
    assert again.pieces == folder.pieces
    assert again.frames == 3 * PIECE
    assert [piece.key_frames for piece in again.pieces] == [[0], [7], [14]]


def test_the_packets_of_all_pieces_are_one_video(folder: WorkFolder, info: VideoInfo, tmp_path: Path) -> None:
    packets = list(folder.packets(info.time_base))
    step = round(1 / (info.rate * info.time_base))
    decoded = [packet.dts for packet in packets]
    assert decoded == sorted(set(decoded))
    assert all((packet.dts or 0) <= (packet.pts or 0) for packet in packets)
    assert sorted(packet.pts or 0 for packet in packets) == [index * step for index in range(3 * PIECE)]
    assert [packet.is_keyframe for packet in packets][::PIECE] == [True] * 3
    with VideoWriter(tmp_path / "joined.mp4", info) as writer:
        for packet in packets:
            writer.append(packet)
    with VideoReader(tmp_path / "joined.mp4") as reader:
        frames = list(reader)
    assert [frame.pts for frame in frames] == [index * step for index in range(3 * PIECE)]
    for frame in frames:
        wanted = moving_square(frame.index, info.width, info.height)
        assert np.abs(frame.rgb.astype(int) - wanted).mean() < 12


def flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / "000001.piece").read_bytes())
    content[-40] ^= 1
    (folder / "000001.piece").write_bytes(content)


def shorten(folder: Path) -> None:
    os.truncate(folder / "000001.piece", (folder / "000001.piece").stat().st_size - 1)


def empty(folder: Path) -> None:
    os.truncate(folder / "000001.piece", 0)


def spoil_header(folder: Path) -> None:
    (folder / "000001.piece").write_bytes(b'{"frames": 3}\n' + b"\xff" * 20)


def remove(folder: Path) -> None:
    (folder / "000001.piece").unlink()


def spoil_job(folder: Path) -> None:
    (folder / "job.json").write_bytes(b"\xff\xfe{")


@pytest.mark.parametrize(
    ("damage", "left"),
    [(flip_a_bit, 1), (shorten, 1), (empty, 1), (spoil_header, 1), (remove, 1), (spoil_job, 0)],
)
def test_only_intact_pieces_before_any_damage_are_kept(
    folder: WorkFolder, info: VideoInfo, tmp_path: Path, damage: Callable[[Path], None], left: int
) -> None:
    damage(folder.path)
    again = WorkFolder(tmp_path / "out.mp4", JOB)
    assert again.pieces == folder.pieces[:left]
    assert len(os.listdir(folder.path)) == 1 + left
    add_piece(again, info)
    assert [piece.key_frames for piece in again.pieces] == [[PIECE * i] for i in range(left + 1)]


def test_another_job_empties_the_folder(folder: WorkFolder, tmp_path: Path) -> None:
    for job in ({"crf": 20}, JOB):
        other = WorkFolder(tmp_path / "out.mp4", job)
        assert other.pieces == []
        other.close()


@pytest.mark.parametrize("job", ['{"format": 2, "crf": 18}', '{"schema_version": 99}'])
def test_pieces_of_another_release_are_refused_by_version_and_kept(
    folder: WorkFolder, tmp_path: Path, job: str
) -> None:
    (folder.path / "job.json").write_text(job)
    before = sorted(os.listdir(folder.path))
    with pytest.raises(OutputError, match=r"schema version (2|99), this release needs 4") as caught:
        WorkFolder(tmp_path / "out.mp4", JOB)
    assert "\n" not in str(caught.value)
    assert "Delete that folder" in str(caught.value)
    assert sorted(os.listdir(folder.path)) == before


def test_removing_leaves_nothing(folder: WorkFolder, tmp_path: Path) -> None:
    folder.remove()
    assert os.listdir(tmp_path) == ["clip.mp4"]


def test_a_folder_that_cannot_be_created_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / ".out.mp4.unfinished").write_text("a file in the way")
    with pytest.raises(OutputError, match="cannot be used") as caught:
        WorkFolder(tmp_path / "out.mp4", JOB)
    assert "\n" not in str(caught.value)


def test_two_runs_on_one_output_are_refused(folder: WorkFolder, tmp_path: Path) -> None:
    running = WorkFolder(tmp_path / "out.mp4", JOB)
    with pytest.raises(OutputError, match=r"Another run is writing .*out\.mp4\. Wait"):
        WorkFolder(tmp_path / "out.mp4", {"crf": 20})
    assert len(running.pieces) == len(list(folder.path.glob("*.piece"))) == 3
    running.close()
    assert WorkFolder(tmp_path / "out.mp4", JOB).pieces == running.pieces
