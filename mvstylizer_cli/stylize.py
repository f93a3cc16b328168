"""``mvstylizer stylize``: stylize a video, a photo or a live stream."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mvstylizer_cli.combinations import SEVERAL, check_combinations
from mvstylizer_cli.configured import ConfigOption, ProfileOption
from mvstylizer_cli.console import BundleOption, JsonOption, Show, finish, warn
from mvstylizer_cli.excerpt_options import FromOption, ToOption, check_span
from mvstylizer_cli.many import JobsOption, SkipOption, stylize_many
from mvstylizer_cli.preview import PreviewOption, PreviewScenesOption, preview
from mvstylizer_cli.renamed_options import renaming
from mvstylizer_cli.stylize_file import stylize_file, summary
from mvstylizer_cli.stylizers import (
    EdgeOption,
    InputLutOption,
    LocalOption,
    MatchOption,
    MaxPixelsOption,
    StrengthOption,
    StyleOption,
    StylizerBackend,
    TlsOption,
    TokenOption,
    WeightsOption,
    parsed_match,
    styles_with_weights,
)

if TYPE_CHECKING:
    from device_runtime.labels.masks import MaskFiles
    from device_runtime.options import StylizeOptions
    from device_runtime.report import Report

STYLIZE_EXAMPLES = """\b
Examples:
  mvstylizer stylize street.mp4 --style dusk.jpg --out street-dusk.mp4
  mvstylizer stylize street.mp4 --style dusk.jpg --out out.mp4 --key-frames every:10 --interpolation warp
  mvstylizer stylize street.mp4 --style dusk.jpg --out out.mp4 --edge 192.168.1.20:8001
  mvstylizer stylize street.mp4 --style a.jpg --style b.jpg --style-weights 0.7,0.3 --out out.mp4
  mvstylizer stylize street.mp4 --style dusk.jpg --out out.mp4 --from 1:30 --to 1:35
  mvstylizer stylize street.mp4 --style dusk.jpg --out sheet.png --preview
  mvstylizer stylize photo.jpg --style dusk.jpg --out photo-dusk.jpg --strength 0.7
  mvstylizer stylize holiday/ --style dusk.jpg --out holiday-dusk/ --skip-existing --jobs 2
  mvstylizer stylize street.mp4 --profile dusk --out street-dusk.mp4
  mvstylizer stylize photo.jpg --style dusk.jpg --mask labels.png --style-mask dusk-labels.png --out out.jpg
  mvstylizer stylize /dev/video0 --live --style dusk.jpg --out udp://127.0.0.1:5000 --edge 192.168.1.20:8001
"""

# Old names, accepted for one more release.
STYLIZE_COMMAND = renaming(
    {"--steady": "--temporal-smoothing", "--flow-start": "--flow-init", "--reply": "--edge-output"},
    {("--flow-init", "before"): "previous"},
)


def stylize(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="VIDEO...", help="Videos, photos or folders; with --live, a camera, URL or file."
        ),
    ],
    style: StyleOption,
    out: Annotated[
        str,
        typer.Option(
            "--out",
            metavar="OUT",
            help="Output file, or folder for several; with --live, a URL, a file or `window`.",
        ),
    ],
    style_weights: WeightsOption = None,
    mask: Annotated[
        Path | None,
        typer.Option(
            "--mask",
            metavar="PNG",
            help="Label image of a photo, of a video's first frame, or a folder with one per shot.",
        ),
    ] = None,
    style_mask: Annotated[
        Path | None, typer.Option("--style-mask", metavar="PNG", help="Label image of the style photo.")
    ] = None,
    edge: EdgeOption = None,
    local: LocalOption = False,
    tls_ca: TlsOption = None,
    token: TokenOption = "",
    no_fallback: Annotated[
        bool, typer.Option("--no-fallback", help="Fail if the edge becomes unavailable.")
    ] = False,
    key_frames: Annotated[
        str, typer.Option(metavar="codec|content|every:N|adaptive:Q", help="Key-frame policy.")
    ] = "codec",
    interpolation: Annotated[
        Literal["warp", "transfer"],
        typer.Option(help="Interpolate by warping pixels (warp) or grids of color transforms (transfer)."),
    ] = "transfer",
    edge_output: Annotated[
        Literal["image", "map"] | None,
        typer.Option(
            help="What the edge returns; transfer requires map. [default: map for transfer, image for warp]"
        ),
    ] = None,
    strength: StrengthOption = 1.0,
    match: MatchOption = "auto",
    protect: Annotated[
        Literal["none", "skin"],
        typer.Option(help="Change what has the colors of skin less than half as much."),
    ] = "none",
    temporal_smoothing: Annotated[
        float,
        typer.Option(
            min=0, metavar="SECONDS", help="Time constant for averaging maps within a scene; 0 disables it."
        ),
    ] = 1.0,
    flow_init: Annotated[
        Literal["previous", "codec"],
        typer.Option(help="Initialize motion search from the previous flow, or also from codec vectors."),
    ] = "previous",
    codec: Annotated[
        str,
        typer.Option(
            metavar="auto|h264|hevc|NAME",
            help="H.264, HEVC or a hardware encoder of FFmpeg (h264_nvenc, …); auto: HEVC above 8 bits.",
        ),
    ] = "auto",
    preset: Annotated[
        str | None, typer.Option(help="The encoder's speed. [default: superfast for h264 and hevc]")
    ] = None,
    crf: Annotated[
        int | None,
        typer.Option(
            min=0, max=51, help="Quality; lower is better and larger. [default: 18 for h264, 20 for hevc]"
        ),
    ] = None,
    input_lut: InputLutOption = None,
    start: FromOption = None,
    end: ToOption = None,
    sdr: Annotated[bool, typer.Option("--sdr", help="Make an SDR result of an HDR video.")] = False,
    deinterlace: Annotated[
        Literal["auto", "off"],
        typer.Option(help="Deinterlace interlaced frames (auto) or keep their fields (off)."),
    ] = "auto",
    max_pixels: MaxPixelsOption = 210.0,
    live: Annotated[
        bool, typer.Option("--live", help="Stylize in real time, dropping late frames, until Ctrl-C.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep finished pieces, and continue from an interrupted run.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and a time estimate; write nothing.")
    ] = False,
    skip_existing: SkipOption = False,
    jobs: JobsOption = 1,
    preview_frame: PreviewOption = False,
    preview_scenes: PreviewScenesOption = False,
    bundle: BundleOption = None,
    config: ConfigOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stylize a video, a photo or a live stream after a photo."""
    from device_runtime.batch.plan import is_batch
    from device_runtime.key_frames.policy import KeyFramePolicyError
    from device_runtime.media.photo import is_photo
    from device_runtime.options import StylizeOptions

    source, *others = sources
    many, previews = not live and is_batch(sources, out), preview_frame or preview_scenes
    check_combinations(
        {
            "--edge-output image": edge_output == "image",
            f"--interpolation {interpolation}": True,
            f"--flow-init {flow_init}": True,
            f"--protect {protect}": True,
            "--live": live,
            "--dry-run": dry_run,
            "--resume": resume,
            "--input-lut": input_lut is not None,
            "--preview": previews,
            "--mask": mask is not None,
            "--style-mask": style_mask is not None,
            SEVERAL: many or bool(others),
        }
    )
    if dry_run and not live and is_photo(Path(source), Path(out)):
        raise typer.BadParameter("not supported for photos", param_hint="--dry-run")
    check_span(start, end)
    if (start or end) and (live or (not many and is_photo(Path(source), Path(out)))):
        raise typer.BadParameter("only supported for video files", param_hint="--from" if start else "--to")
    try:
        options = StylizeOptions(
            policy=key_frames,
            interpolation=interpolation,
            edge_output=edge_output,
            strength=strength,
            match=parsed_match(match),
            protect=protect,
            temporal_smoothing_s=temporal_smoothing,
            flow_init=flow_init,
            codec=codec,
            preset=preset,
            crf=crf,
            start=start,
            end=end,
            sdr=sdr,
            deinterlace=deinterlace,
            max_pixels=round(max_pixels * 1e6),
            input_lut=str(input_lut) if input_lut else None,
        )
    except KeyFramePolicyError as err:
        raise typer.BadParameter(str(err), param_hint="--key-frames") from err
    except ValueError as err:
        raise typer.BadParameter(str(err)) from err
    whole = live or dry_run or resume or interpolation == "warp"
    masks = _masks(mask, style_mask, source, style, whole)
    styles = styles_with_weights(style, style_weights)
    backend = StylizerBackend(edge, local, bundle, tls_ca, token, no_fallback)
    if previews:
        preview(source, styles, out, options=options, backend=backend, scenes=preview_scenes, as_json=as_json)
        return
    if many:
        stylize_many(
            sources,
            styles,
            out,
            options=options,
            backend=backend,
            resume=resume,
            skip_existing=skip_existing,
            jobs=jobs,
            as_json=as_json,
        )
        return
    job = _Job(source, styles, out, options, backend, masks, resume, as_json)
    if live:
        job.run_live()
    elif dry_run:
        job.plan()
    else:
        job.run()


@dataclass(frozen=True)
class _Job:
    source: str
    styles: dict[Path, float]
    out: str
    options: StylizeOptions
    backend: StylizerBackend
    masks: MaskFiles | None
    resume: bool
    as_json: bool

    def run(self) -> None:
        """Stylize a video or a photo."""
        self._check()
        report = self._stylize()
        warn(report.warnings)
        finish(report.as_dict(), summary(report), self.as_json)

    def plan(self) -> None:
        """Print what `run` would do."""
        from device_runtime.dry_run import plan_video

        self._check()
        with self.backend.stylizer() as stylizer:
            plan = plan_video(
                Path(self.source),
                self.styles,
                options=self.options,
                stylizer=stylizer,
                bundle=self.backend.model,
            )
        finish(plan.as_dict(), plan.summary(), self.as_json)

    def run_live(self) -> None:
        """Stylize a camera or a stream in real time."""
        from device_runtime.live.session import stylize_live

        with Show("Live") as show, self.backend.stylizer() as stylizer:
            report = stylize_live(
                self.source,
                self.styles,
                self.out,
                options=self.options,
                stylizer=stylizer,
                bundle=self.backend.model,
                progress=lambda done, latency: show(done, None, f"latency {1000 * latency:.0f} ms"),
                fallback=self.backend.fallback,
            )
        warn(report.warnings)
        finish(report.as_dict(), report.summary(), self.as_json)

    def _check(self) -> None:
        """Check the files before a server is started."""
        from device_runtime.request_check import check_request

        check_request(
            Path(self.source),
            self.styles,
            Path(self.out),
            options=self.options,
            bundle=self.backend.model,
            masks=self.masks,
        )

    def _stylize(self) -> Report:
        with Show("Stylizing") as show, self.backend.stylizer() as stylizer:
            return stylize_file(
                Path(self.source),
                self.styles,
                Path(self.out),
                options=self.options,
                stylizer=stylizer,
                backend=self.backend,
                progress=show,
                masks=self.masks,
                resume=self.resume,
            )


def _masks(
    mask: Path | None, style_mask: Path | None, source: str, styles: list[Path], whole: bool
) -> MaskFiles | None:
    """Return the label images, or None if neither is given."""
    from device_runtime.labels.masks import MaskFiles
    from device_runtime.media.photo import is_photo

    if mask is None and style_mask is None:
        return None
    if mask is None or style_mask is None:
        missing = "--mask" if mask is None else "--style-mask"
        raise typer.BadParameter("--mask and --style-mask must be given together", param_hint=missing)
    if len(styles) > 1:
        raise typer.BadParameter("requires a single --style", param_hint="--mask")
    if whole and not is_photo(Path(source)):
        unsupported = "--live, --dry-run, --resume or --interpolation warp"
        raise typer.BadParameter(f"cannot be combined with {unsupported}", param_hint="--mask")
    return MaskFiles(mask, style_mask)
