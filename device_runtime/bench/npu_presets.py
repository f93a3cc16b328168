"""NPUs of today by chip, with the libraries that LiteRT's tool needs; none of them has been tested.

File names are those of the vendors' SDKs, whose licenses forbid shipping them with the kit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from device_runtime.bench.benchmark_model import BenchmarkModelError


class NpuPreset(NamedTuple):
    """A family of NPUs.

    Attributes:
        chip: Name as sold.
        soc: Name in compiled graphs, as `export --compile` takes it.
        libraries: Files in the vendor's SDK, the dispatch library first.
        tested: Whether the kit has run on one.
    """

    chip: str
    soc: str
    libraries: tuple[str, ...]
    tested: bool = False


def _hexagon(version: int) -> tuple[str, ...]:
    libraries = (
        "libQnnHtp.so",
        f"libQnnHtpV{version}Stub.so",
        f"libQnnHtpV{version}Skel.so",
        "libQnnSystem.so",
    )
    return ("libLiteRtDispatch_Qualcomm.so", *libraries)


_MEDIATEK: Final = ("libLiteRtDispatch_MediaTek.so",)
_TENSOR: Final = ("libLiteRtDispatch_GoogleTensor.so",)
PRESETS: Final = {
    "snapdragon-8-gen-2": NpuPreset("Snapdragon 8 Gen 2", "SM8550", _hexagon(73)),
    "snapdragon-8-gen-3": NpuPreset("Snapdragon 8 Gen 3", "SM8650", _hexagon(75)),
    "snapdragon-8-elite": NpuPreset("Snapdragon 8 Elite", "SM8750", _hexagon(79)),
    "snapdragon-8-elite-gen-5": NpuPreset("Snapdragon 8 Elite Gen 5", "SM8850", _hexagon(81)),
    "tensor-g4": NpuPreset("Google Tensor G4", "Tensor_G4", _TENSOR),
    "tensor-g5": NpuPreset("Google Tensor G5", "Tensor_G5", _TENSOR),
    "dimensity-9300": NpuPreset("Dimensity 9300", "MT6989", _MEDIATEK),
    "dimensity-9400": NpuPreset("Dimensity 9400", "MT6991", _MEDIATEK),
}


def preset_files(name: str, folder: Path) -> tuple[Path, ...]:
    """Return a preset's libraries in a folder of the vendor's SDK, found at any depth.

    Args:
        name: A key of `PRESETS`.
        folder: The unpacked SDK, with LiteRT's dispatch library.

    Raises:
        BenchmarkModelError: One is not there.
    """
    preset = PRESETS[name]
    found = {library: next(folder.rglob(library), None) for library in preset.libraries}
    if missing := [library for library, path in found.items() if path is None]:
        raise BenchmarkModelError(
            f"{folder} lacks {', '.join(missing)} for {preset.chip}", "Set --npu-sdk to the vendor's SDK"
        )
    return tuple(path for path in found.values() if path)
