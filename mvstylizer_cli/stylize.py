"""``mvstylizer stylize``: the main job."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mvstylizer_cli.console import BundleOption, JsonOption, Show, finish, warn
from mvstylizer_cli.stylizers import (
    EdgeOption,
    Engine,
    LocalOption,
    StrengthOption,
    StyleOption,
    TlsOption,
    TokenOption,
    WeightsOption,
    styles_with_weights,
)

if TYPE_CHECKING:
    from device_runtime.labels.masks import MaskFiles
    from device_runtime.options import StylizeOptions
    from device_runtime.report import LabelUse, Report

STYLIZE_EXAMPLES = """\b
Examples:
  mvstylizer stylize street.mp4 --style dusk.jpg --out street-dusk.mp4
  mvstylizer stylize street.mp4 --style dusk.jpg --out out.mp4 --key-frames every:10 --interpolation warp
  mvstylizer stylize street.mp4 --style dusk.jpg --out out.mp4 --edge 192.168.1.20:8001
  mvstylizer stylize street.mp4 --style a.jpg --style b.jpg --style-weights 0.7,0.3 --out out.mp4
  mvstylizer stylize photo.jpg --style dusk.jpg --out photo-dusk.jpg --strength 0.7
  mvstylizer stylize photo.jpg --style dusk.jpg --mask labels.png --style-mask dusk-labels.png --out out.jpg
  mvstylizer stylize /dev/video0 --live --style dusk.jpg --out udp://127.0.0.1:5000 --edge 192.168.1.20:8001
"""


def stylize(
    source: Annotated[
        str,
        typer.Argument(
            metavar="VIDEO", help="Video to stylize (a photo works too; with --live a camera or URL)."
        ),
    ],
    style: StyleOption,
    out: Annotated[
        str,
        typer.Option(
            "--out", metavar="OUT", help="Where it goes (.mp4; .jpg; with --live a URL or `window`)."
        ),
    ],
    style_weights: WeightsOption = None,
    mask: Annotated[
        Path | None,
        typer.Option(
            "--mask", metavar="PNG", help="Label image of a photo: each label takes on the style's own."
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
        bool, typer.Option("--no-fallback", help="End the run when the edge goes away.")
    ] = False,
    key_frames: Annotated[
        str, typer.Option(metavar="codec|content|every:N|adaptive:Q", help="Which frames go to the edge.")
    ] = "codec",
    interpolation: Annotated[
        Literal["warp", "transfer"],
        typer.Option(help="How the frames between are made: warped pixels, or warped affine colour maps."),
    ] = "transfer",
    reply: Annotated[
        Literal["image", "map"] | None,
        typer.Option(help="What the edge sends back; transfer needs the map. [default: image for warp]"),
    ] = None,
    strength: StrengthOption = 1.0,
    steady: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="Average maps over so long within a scene; 0 = do not."),
    ] = 1.0,
    flow_start: Annotated[
        Literal["before", "codec"],
        typer.Option(
            help="Start the search for motion from the frame before, or from the codec's vectors too."
        ),
    ] = "before",
    crf: Annotated[int, typer.Option(min=0, max=51, help="H.264 quality: lower is better and larger.")] = 18,
    live: Annotated[
        bool, typer.Option("--live", help="As it comes: the newest picture first, until it ends or Ctrl-C.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep finished pieces; go on with those of an earlier run.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and an estimate of the time; write nothing.")
    ] = False,
    bundle: BundleOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stylize a video (or a photo) in the style of a photo."""
    from device_runtime.media.photo import is_photo
    from device_runtime.options import StylizeOptions

    if interpolation == "transfer" and reply == "image":
        raise typer.BadParameter("transfer needs the map, not the image", param_hint="--reply")
    if dry_run and not live and is_photo(Path(source)):
        raise typer.BadParameter("a photo needs no plan", param_hint="--dry-run")
    if live and (dry_run or resume or interpolation == "warp" or flow_start == "codec"):
        raise typer.BadParameter(
            "goes with none of --dry-run, --resume, warp, --flow-start codec", param_hint="--live"
        )
    recipe = StylizeOptions(
        key_frames, interpolation, reply, strength, steady_s=steady, flow_start=flow_start
    )
    masks = _masks(mask, style_mask, source, style, live)
    job = _Job(
        source, styles_with_weights(style, style_weights), out, recipe,
        Engine(edge, local, bundle, tls_ca, token, no_fallback), crf, resume, as_json, masks,
    )  # fmt: skip
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
    recipe: StylizeOptions
    engine: Engine
    crf: int
    resume: bool
    as_json: bool
    masks: MaskFiles | None

    def run(self) -> None:
        """Stylize a video or a photo."""
        from device_runtime.media.photo import is_photo
        from device_runtime.pipeline import stylize_photo, stylize_video

        source, out, recipe = Path(self.source), Path(self.out), self.recipe
        self._check()
        with Show("Stylizing") as show, self.engine.stylizer() as stylizer:
            if is_photo(source):
                report = stylize_photo(
                    source, self.styles, out, stylizer=stylizer, strength=recipe.strength,
                    masks=self.masks, progress=show,
                )  # fmt: skip
            else:
                report = stylize_video(
                    source, self.styles, out, stylizer=stylizer, bundle=self.engine.model,
                    policy=recipe.policy, interpolation=recipe.interpolation, reply=recipe.reply,
                    strength=recipe.strength, steady_s=recipe.steady_s, crf=self.crf, progress=show,
                    flow_start=recipe.flow_start, fallback=self.engine.fallback, resume=self.resume,
                )  # fmt: skip
        warn(report.warnings)
        finish(report.as_dict(), _summary(report), self.as_json)

    def plan(self) -> None:
        """Print what `run` would do."""
        from device_runtime.dry_run import plan_video

        self._check()
        with self.engine.stylizer() as stylizer:
            plan = plan_video(
                Path(self.source), self.styles, self.recipe,
                stylizer=stylizer, bundle=self.engine.model, crf=self.crf,
            )  # fmt: skip
        finish(plan.as_dict(), plan.summary(), self.as_json)

    def run_live(self) -> None:
        """Stylize a camera or a stream as it comes."""
        from device_runtime.live.session import stylize_live

        with Show("Live") as show, self.engine.stylizer() as stylizer:
            report = stylize_live(
                self.source, self.styles, self.out, stylizer=stylizer, bundle=self.engine.model,
                strength=self.recipe.strength, steady_s=self.recipe.steady_s, fallback=self.engine.fallback,
                progress=lambda done, latency: show(done, None, f"latency {1000 * latency:.0f} ms"),
            )  # fmt: skip
        warn(report.warnings)
        finish(report.as_dict(), report.summary(), self.as_json)

    def _check(self) -> None:
        """Say what is wrong before a server is started."""
        from device_runtime.key_frames.policy import KeyFramePolicyError
        from device_runtime.pipeline import check_request

        try:
            check_request(
                Path(self.source), self.styles, Path(self.out),
                bundle=self.engine.model, policy=self.recipe.policy, masks=self.masks,
            )  # fmt: skip
        except KeyFramePolicyError as err:
            raise typer.BadParameter(str(err), param_hint="--key-frames") from err


def _masks(
    mask: Path | None, style_mask: Path | None, source: str, styles: list[Path], live: bool
) -> MaskFiles | None:
    """Return the label images, or None where neither is given."""
    from device_runtime.labels.masks import MaskFiles
    from device_runtime.media.photo import is_photo

    if mask is None and style_mask is None:
        return None
    if mask is None or style_mask is None:
        missing = "--mask" if mask is None else "--style-mask"
        raise typer.BadParameter("--mask and --style-mask go together", param_hint=missing)
    if len(styles) > 1:
        raise typer.BadParameter("goes with one --style only", param_hint="--mask")
    if live or (Path(source).exists() and not is_photo(Path(source))):
        raise typer.BadParameter("is for photos, not for videos", param_hint="--mask")
    return MaskFiles(mask, style_mask)


def _summary(report: Report) -> str:
    parts = "  ".join(f"{name} {seconds:.2f}" for name, seconds in report.seconds.items() if name != "total")
    lines = [
        report.out,
        f"{report.frames} frames: {report.key_frames} key, {report.intermediate_frames} intermediate"
        f" ({report.interpolation})",
        f"{report.seconds['total']:.2f} s  [{parts}]",
    ]
    if report.labels:
        lines.append("labels: " + ", ".join(map(_label_line, report.labels)))
    asked = report.key_frames - len(report.fallback_key_frames)
    if report.bytes_up and asked:
        up, down = (total / asked / 1000 for total in (report.bytes_up, report.bytes_down))
        lines.append(f"{up:.1f} kB up and {down:.1f} kB down a key frame")
    return "\n".join(lines)


def _label_line(use: LabelUse) -> str:
    return f"{use.label} ({100 * use.share:.1f} %{'' if use.own_style else ', the whole style'})"
