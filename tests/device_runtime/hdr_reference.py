"""HDR clips and a reference tone map, written from BT.2100, SMPTE ST 2084 and BT.2087 in float64.

The tone map is FFmpeg's ``tonemap`` filter, on linear light that this module computes.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.filter
import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab

Values = NDArray[Any]

PQ, HLG = 16, 18
TRANSFERS = (PQ, HLG)
WHITE = 203.0
BT709_TO_BT2020 = np.array(
    [[0.627404, 0.329283, 0.043313], [0.069097, 0.919540, 0.011362], [0.016391, 0.088013, 0.895595]]
)
MASTERING = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"


def scene_light(photo: NDArray[np.uint8]) -> Values:
    """Return a scene's light in BT.709, where 1 is SDR white: a photo whose brightest parts reach 3."""
    light = (photo / 255.0) ** 2.4
    return light * (1 + 2 * np.clip((light.max(-1, keepdims=True) - 0.6) / 0.4, 0, 1))


def hdr_codes(light: Values, transfer: int) -> Values:
    """Return R', G', B' of BT.2020 for light in BT.709."""
    wide = np.maximum(light @ BT709_TO_BT2020.T, 0) * WHITE
    if transfer == PQ:
        power = (wide / 10_000) ** 0.1593017578125
        return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    wide = wide / 1000
    luminance = wide @ np.array([0.2627, 0.6780, 0.0593])
    scene = wide * np.maximum(luminance, 1e-12)[..., None] ** (1 / 1.2 - 1)
    above = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-12)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), above)


def light_of(codes: Values, transfer: int) -> Values:
    """Return light in BT.709 for R', G', B' of BT.2020."""
    codes = np.clip(codes, 0, 1).astype(float)
    if transfer == PQ:
        root = codes ** (1 / 78.84375)
        light = (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
        return 10_000 * light / WHITE @ np.linalg.inv(BT709_TO_BT2020).T
    scene = np.where(
        codes <= 0.5, codes**2 / 3, (np.exp((codes - 0.55991073) / 0.17883277) + 0.28466892) / 12
    )
    luminance = scene @ np.array([0.2627, 0.6780, 0.0593])
    light = scene * luminance[..., None] ** 0.2
    return 1000 * light / WHITE @ np.linalg.inv(BT709_TO_BT2020).T


def tone_mapped(codes: Values, transfer: int) -> Values:
    """Return SDR R', G', B' by FFmpeg's ``tonemap`` (Mobius), float64 (H, W, 3) in the unit range."""
    height, width, _ = codes.shape
    light = np.ascontiguousarray(light_of(codes, transfer)[..., [1, 2, 0]].transpose(2, 0, 1), np.float32)
    frame = av.VideoFrame(width, height, "gbrpf32le")
    for plane, values in zip(frame.planes, light, strict=True):
        memory = np.frombuffer(plane, np.float32).reshape(height, -1)
        memory[:, :width] = values
    frame.color_trc, frame.colorspace, frame.color_primaries = 8, 0, 1
    frame.pts, frame.time_base = 0, Fraction(1, 25)
    graph = av.filter.Graph()
    source = graph.add_buffer(width=width, height=height, format=frame.format, time_base=Fraction(1, 25))
    tonemap = graph.add("tonemap", "tonemap=mobius:param=0.8:peak=49.26:desat=0")
    sink = graph.add("buffersink")
    source.link_to(tonemap)
    tonemap.link_to(sink)
    graph.configure()
    source.push(frame)
    mapped = sink.pull()
    planes = [
        np.frombuffer(plane, np.float32).reshape(height, -1)[:, :width]
        for plane in mapped.planes  # type: ignore[union-attr]
    ]
    green, blue, red = (np.clip(plane, 0, 1).astype(float) for plane in planes)
    return np.stack([red, green, blue], -1) ** (1 / 2.4)


def delta_e(one: Values, other: Values) -> Values:
    """Return ΔE2000 of two pictures in R', G', B' in the unit range."""
    first, second = (rgb2lab(np.clip(each, 0, 1).astype(float)) for each in (one, other))
    return np.asarray(deltaE_ciede2000(first, second))


def frame_codes(frame: av.VideoFrame) -> Values:
    """Return R', G', B' of BT.2020 of a decoded yuv420p10le frame in limited range."""
    stored = frame.to_ndarray().astype(float)
    height, width = frame.height, frame.width
    y = (stored[:height] - 64) / 876
    u, v = (
        cv2.resize((plane - 512) / 896, (width, height))
        for plane in stored[height:].reshape(2, height // 2, width // 2)
    )
    red, blue = y + 1.4746 * v, y + 1.8814 * u
    return np.stack([red, (y - 0.2627 * red - 0.0593 * blue) / 0.678, blue], -1)


def write_hdr(path: Path, lights: list[Values], transfer: int, *, light_level: bool = False) -> Path:
    """Write a clip in HEVC Main10, BT.2020, 25 frames a second.

    Args:
        path: The file.
        lights: Light of each frame in BT.709, (H, W, 3); even sizes.
        transfer: `PQ` or `HLG`.
        light_level: Add light levels.
    """
    parameters = "log-level=none" + (f":master-display={MASTERING}:max-cll=1000,400" if light_level else "")
    with av.open(str(path), "w") as container:
        options = {"preset": "ultrafast", "crf": "4", "x265-params": parameters}
        stream = container.add_stream("libx265", rate=Fraction(25), options=options)
        stream.height, stream.width = lights[0].shape[:2]
        stream.pix_fmt = "yuv420p10le"
        context = stream.codec_context
        context.colorspace, context.color_range, context.color_primaries = 9, 1, 9
        context.color_trc = transfer
        for index, light in enumerate(lights):
            frame = _encoded(hdr_codes(light, transfer))
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _encoded(codes: Values) -> av.VideoFrame:
    red, green, blue = np.moveaxis(codes, -1, 0)
    y = 0.2627 * red + 0.678 * green + 0.0593 * blue
    height, width = y.shape
    chroma = [
        cv2.resize(each, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        for each in ((blue - y) / 1.8814, (red - y) / 1.4746)
    ]
    planes = [64 + 876 * y, *(512 + 896 * each for each in chroma)]
    stored = np.concatenate([np.rint(plane).astype(np.uint16).ravel() for plane in planes])
    return av.VideoFrame.from_ndarray(stored.reshape(height * 3 // 2, width), format="yuv420p10le")
