"""Early check of a request, before a server is started for it."""

from __future__ import annotations

from pathlib import Path

from device_runtime.labels.masks import MaskFiles, read_mask_files
from device_runtime.labels.shot_masks import check_video_masks
from device_runtime.media.atomic_file import check_output
from device_runtime.media.cube_file import read_cube
from device_runtime.media.encoder import PictureEncoder
from device_runtime.media.photo import check_photo_output, is_photo, read_photo
from device_runtime.media.reader import VideoReader
from device_runtime.media.writer import VideoWriter
from device_runtime.options import DEFAULT_OPTIONS, StylizeOptions
from device_runtime.stylizers.style_mix import StyleMix, StylePhotos, check_match, normalized
from mvstylizer.bundle import Bundle


def check_request(
    source: Path,
    style_photo: StylePhotos,
    out: Path,
    *,
    options: StylizeOptions = DEFAULT_OPTIONS,
    bundle: Bundle,
    masks: MaskFiles | None = None,
) -> None:
    """Raise what `stylize_video` or `stylize_photo` would raise for bad input, within moments.

    Args:
        source: A video or a photo.
        style_photo: The style photo, or several with weights.
        out: The result.
        options: Options of the run.
        bundle: Provides the TFLite kernels.
        masks: Label images, as for `stylize_photo`.

    Raises:
        ValueError: `masks` are combined with several styles, or a StyleWeightError.
        MVStylizerError: As raised by `stylize_video` and `stylize_photo` for files.
    """
    options.selector(bundle)
    check_match(options.match, bundle)
    if options.input_lut:
        read_cube(Path(options.input_lut))
    StyleMix.read(style_photo)
    if is_photo(source, out):
        photo = read_photo(source, max_pixels=options.max_pixels)
        check_photo_output(out, source, *normalized(style_photo), *(masks or ()))
        if masks is not None:
            read_mask_files(photo, style_photo, masks)
        return
    check_output(out, source, *normalized(style_photo))
    with VideoReader(source, sdr=options.sdr) as reader:
        VideoWriter(out, reader.info, encoding=options.encoding)
        PictureEncoder(reader.info, encoding=options.encoding)
        if masks is not None:
            check_video_masks(next(iter(reader)).rgb, style_photo, masks)
        options.span.check_within(reader.info)
