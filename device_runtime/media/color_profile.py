"""Color management of photos: from their ICC profile to sRGB, with Little CMS through Pillow."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

# Color space of a profile → Pillow's mode of the pixels that it describes.
MODES: Final = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab ": "LAB"}
NODES: Final = 33  # per axis of the table for pixels of more than eight bits
STRIP: Final = 1 << 20  # pixels converted at once


@dataclass
class ColorProfile:
    """The ICC profile of a picture.

    Attributes:
        source: The profile as found; None = sRGB without a profile.
        is_damaged: Whether it cannot be used, so that sRGB is assumed.
    """

    source: bytes | None
    is_damaged: bool = False

    @classmethod
    def of(cls, image: Image) -> ColorProfile:
        """Return the profile of an open picture."""
        return cls(image.info.get("icc_profile") or None)

    @property
    def is_srgb(self) -> bool:
        """Whether colors need no conversion."""
        if self.source is None or self.is_damaged:
            return True
        from PIL import ImageCms

        profile = self._opened()
        if profile is None:
            return True
        try:
            return ImageCms.getProfileName(profile).lower().startswith("srgb")
        except ImageCms.PyCMSError:  # a damaged name
            return False

    @property
    def for_srgb(self) -> bytes | None:
        """A profile for a file with these colors in sRGB: the source's own if it is sRGB."""
        if self.source is None or self.is_damaged:
            return None
        if self.is_srgb:
            return self.source
        from PIL import ImageCms

        return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

    def to_srgb(self, image: Image) -> NDArray[np.uint8]:
        """Convert a picture of eight bits.

        Returns:
            uint8 RGB (H, W, 3).
        """
        if image.mode in ("P", "PA", "1") or image.has_transparency_data:
            image = image.convert("RGB" if image.mode not in ("L", "LA", "1") else "L")
        converted = None if self.is_srgb else self._converted(image)
        return np.asarray(converted or image.convert("RGB"), np.uint8)

    def deep_to_srgb(self, deep: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """Convert a picture of 16 bits through a table of `NODES` nodes per axis, read trilinearly.

        Args:
            deep: uint16 RGB (H, W, 3).
        """
        if self.is_srgb:
            return deep
        table = self._table()
        if table is None:
            return deep
        flat = deep.reshape(-1, 3)
        converted = np.empty_like(flat)
        for start in range(0, len(flat), STRIP):
            converted[start : start + STRIP] = _looked_up(table, flat[start : start + STRIP])
        return converted.reshape(deep.shape)

    def _table(self) -> NDArray[np.float32] | None:
        from PIL import Image

        levels = np.rint(np.linspace(0, 255, NODES)).astype(np.uint8)
        nodes = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1)
        converted = self._converted(Image.fromarray(nodes.reshape(NODES, -1, 3), "RGB"))
        if converted is None:
            return None
        return np.asarray(converted, np.float32).reshape(NODES, NODES, NODES, 3) * 257

    def _converted(self, image: Image) -> Image | None:
        """Convert to sRGB; None if the profile does not fit the pixels or is damaged."""
        from PIL import ImageCms

        profile = self._opened()
        if profile is None:
            return None
        mode = MODES.get(profile.profile.xcolor_space)
        if mode == "L" and image.mode == "RGB":
            image = image.convert("L")
        if mode != image.mode:
            self.is_damaged = True
            return None
        try:
            return ImageCms.profileToProfile(
                image,
                profile,
                ImageCms.createProfile("sRGB"),
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                outputMode="RGB",
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
        except (ImageCms.PyCMSError, ValueError, OSError):
            self.is_damaged = True
            return None

    def _opened(self) -> Any:
        from PIL import ImageCms

        try:
            return ImageCms.ImageCmsProfile(io.BytesIO(self.source or b""))
        except (ImageCms.PyCMSError, OSError, TypeError):
            self.is_damaged = True
            return None


def _looked_up(table: NDArray[np.float32], rgb: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Read a table (n, n, n, 3) trilinearly at pixels (N, 3)."""
    place = rgb.astype(np.float32) * np.float32((NODES - 1) / 65535)
    low = np.minimum(place.astype(np.intp), NODES - 2)
    part = place - low
    found = np.zeros((len(rgb), 3), np.float32)
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, part, 1 - part), axis=1, keepdims=True)
        red, green, blue = (low + corner).T
        found += weight * table[red, green, blue]
    return np.asarray(np.clip(np.rint(found), 0, 65535), np.uint16)
