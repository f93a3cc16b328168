"""The figures published in the paper (Li et al., MVStylizer, MobiHoc 2020)."""

from __future__ import annotations

from typing import Final

RESOLUTIONS: Final = ("512x256", "768x384", "1024x512", "1920x1080")
ENDS: Final = (RESOLUTIONS[0], RESOLUTIONS[-1])  # the sizes of a quick run
GPU: Final = "TITAN X Pascal"

# Table 1: seconds to stylize one frame. The paper lists Luan et al. at 1920x1080 as "> 1000".
STYLIZATION_SECONDS: Final[dict[str, dict[str, float | None]]] = {
    "Luan et al.": dict(zip(RESOLUTIONS, (186.52, 380.82, 650.45, None), strict=True)),
    "Li et al.": dict(zip(RESOLUTIONS, (2.95, 7.05, 13.16, 38.72), strict=True)),
    "MVStylizer": dict(zip(RESOLUTIONS, (0.52, 0.73, 0.99, 1.51), strict=True)),
}
# Table 2: seconds to interpolate one frame on a Pixel 2, flow given.
INTERPOLATION_SECONDS: Final = dict(zip(RESOLUTIONS, (0.0006, 0.002, 0.006, 0.02), strict=True))
# Table 3: Inception score and FID of the stylized frames.
INCEPTION_SCORE: Final = {"Li et al.": 129.54, "MVStylizer": 135.20}
FID: Final = {"Li et al.": 168.71, "MVStylizer": 164.23}
# Table 4: MS-SSIM of the frame next to a key frame, to the same frame stylized.
MS_SSIM: Final = dict(zip(RESOLUTIONS, (0.9845, 0.9841, 0.9847, 0.9849), strict=True))
# Table 5: seconds to send one key frame from Boston.
LATENCY_SECONDS: Final = {
    "New York": dict(zip(RESOLUTIONS, (0.003, 0.006, 0.011, 0.031), strict=True)),
    "Los Angeles": dict(zip(RESOLUTIONS, (0.028, 0.058, 0.105, 0.318), strict=True)),
    "Hong Kong": dict(zip(RESOLUTIONS, (0.088, 0.176, 0.312, 0.925), strict=True)),
}
# Figure 5: the clip's frames, and the key-frame intervals.
CLIP_FRAMES: Final = 300
INTERVALS: Final = (5, 10, 15, 20, 25, 30)
# Figure 7: images per edge until the loss of Eq. 5 reaches 0.0748, by number of edges.
FEDERATED_IMAGES: Final = {1: 40_000, 2: 32_000, 4: 12_000}
FEDERATED_LOSS: Final = 0.0748


def speed_up(resolution: str, interval: int, frames: int = CLIP_FRAMES) -> float:
    """Return the speed-up of Figure 5: Eq. 6 with the paper's times from Table 2."""
    stylize, interpolate = STYLIZATION_SECONDS["MVStylizer"][resolution], INTERPOLATION_SECONDS[resolution]
    return eq6(stylize, interpolate, interval, frames)


def eq6(stylize: float | None, interpolate: float, interval: int, frames: int = CLIP_FRAMES) -> float:
    """Return Eq. 6: all · t_d / (key · t_d + intermediate · t_i).

    Args:
        stylize: t_d, seconds to stylize a frame.
        interpolate: t_i, seconds to interpolate a frame.
        interval: Key-frame interval, in frames.
        frames: Number of frames of the clip.
    """
    if stylize is None:
        raise ValueError("the paper has no stylization time for this resolution")
    keys = -(-frames // interval)
    return frames * stylize / (keys * stylize + (frames - keys) * interpolate)
