"""The TFLite kernels of a bundle: how each is built, and against what it is checked on which lanes.

Every case of a kernel's reference (`warp_reference`, `transfer_reference`, `key_frame_reference` in this
folder) runs on every lane that a phone may use for the file; a difference from the formula in float64 fails
the export.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from export.errors import GraphError
from export.kernels.key_frame import KEY_FRAME_INPUTS, KEY_FRAME_OUTPUTS, build_key_frame
from export.kernels.transfer import TRANSFER_INPUTS, TRANSFER_OUTPUTS, build_transfer
from export.kernels.transfer_accel import (
    build_transfer_accel,
    transfer_accel_inputs,
    transfer_accel_outputs,
)
from export.kernels.warp import WARP_INPUTS, WARP_OUTPUTS, build_warp
from export.kernels.warp_accel import build_warp_accel, warp_accel_inputs, warp_accel_outputs
from export.kernels.warp_gpu import build_warp_gpu, warp_gpu_inputs, warp_gpu_outputs
from export.parity import transfer_reference, warp_reference
from export.parity.key_frame_reference import key_frame_cases
from export.runtimes import gpu, hexagon, tolerance
from export.runtimes.case import Case
from export.runtimes.cpu import CPU_LANES, flat, run_on_cpu
from export.runtimes.delegate_lint import Code, Delegate, lint
from export.runtimes.difference import Differences
from export.runtimes.gpu import run_on_gpu
from export.runtimes.hexagon import run_on_htp
from export.sizes import Size
from mvstylizer.bundle import TensorSpec

BEYOND_HALF = "saturated"  # maps of hundreds: too coarse in float16, and no picture needs them
HTP_CASES = 3
CORNER_PIXELS = 512 * 256  # builds of larger sizes are checked with one problem, not with all


@dataclass(frozen=True)
class Kernel:
    """One kernel file of a bundle.

    Attributes:
        role: Its role, the file's stem.
        build: Returns the file's content.
        cases: Yields what it must compute.
        inputs: The manifest's rows of the inputs.
        outputs: The manifest's rows of the outputs.
        tolerance: Largest difference from its formula.
        peak: Range of the outputs, for PSNR.
        delegates: Those that must take the file whole, see `export.runtimes.delegate_lint`.
        accepted: Codes of the linter's findings that are known and stated.
        cpu: Whether a CPU can run it at all.
        size: Width and height, where it is built for one size.
    """

    role: str
    build: Callable[[], bytes] = field(compare=False)  # role and tensors say what it is
    cases: Callable[[], Iterator[Case]] = field(compare=False)
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    tolerance: float = tolerance.ROUNDED_GRAY
    peak: float = 255.0
    delegates: tuple[Delegate, ...] = ()
    accepted: tuple[Code, ...] = ()
    cpu: bool = True
    size: Size | None = None

    def check(self, content: bytes) -> dict[str, Any]:
        """Compare the file with its formula on every lane that this machine has.

        Args:
            content: The file.

        Returns:
            The manifest's parity row (`Differences.summary`), in gray levels (before rounding, so up to 0.5
            is rounding) or in units of the score.

        Raises:
            ParityError: A case differs by more than the tolerance; names the case and the lane.
            LaneError: A lane cannot run the file.
            GraphError: A delegate that it is made for would not take it, or compute it wrong.
        """
        self._lint(content)
        differences = Differences(f"Kernel {self.role}", self.tolerance, self.peak)
        kept: list[Case] = []
        for case in self.cases():
            for lane in CPU_LANES if self.cpu else ():
                differences.add(case.name, lane, flat(run_on_cpu(content, case.inputs, lane)), case.expected)
            if self.size:
                kept.append(case)
        if "GPU" in self.delegates and not gpu.why_missing():
            for case, outputs in zip(kept, run_on_gpu(content, kept), strict=True):
                differences.add(case.name, gpu.LANE, flat(outputs), case.expected)
        if self._on_htp():
            kept = [case for case in kept if not case.name.startswith(BEYOND_HALF)][:HTP_CASES]
            for case, outputs in zip(kept, run_on_htp(content, kept), strict=True):
                differences.add(
                    case.name, hexagon.LANE, flat(outputs), case.expected, tolerance=tolerance.HALF_GRAY
                )
        return differences.summary()

    def _on_htp(self) -> bool:
        small = self.size is not None and self.size[0] * self.size[1] <= hexagon.MAX_PIXELS
        return "HTP" in self.delegates and small and not hexagon.why_missing()

    def _lint(self, content: bytes) -> None:
        found = [f for f in lint(content) if f.delegate in self.delegates and f.code not in self.accepted]
        if found:
            raise GraphError(f"Kernel {self.role} is not for {found[0]}")


KERNELS = {
    "warp": Kernel(
        "warp",
        build_warp,
        lambda: map(warp_reference.strip_case, warp_reference.warp_problems()),
        WARP_INPUTS,
        WARP_OUTPUTS,
    ),
    "transfer": Kernel(
        "transfer",
        build_transfer,
        lambda: map(transfer_reference.tile_case, transfer_reference.transfer_problems()),
        TRANSFER_INPUTS,
        TRANSFER_OUTPUTS,
        delegates=("XNNPACK",),
    ),
    "key_frame": Kernel(
        "key_frame",
        build_key_frame,
        key_frame_cases,
        KEY_FRAME_INPUTS,
        KEY_FRAME_OUTPUTS,
        tolerance=tolerance.FEATURE,
        peak=1.0,
    ),
}
"""The kernels that serve every frame size, by role."""


def sized_kernels(sizes: Sequence[Size], grid: Callable[[int, int], Size]) -> Iterator[Kernel]:
    """Yield the accelerators' kernels, which need static shapes.

    Args:
        sizes: Width and height of the frames, one build of each kernel for each.
        grid: Returns columns and rows of the affine map of a frame of width × height.
    """
    for width, height in sizes:
        yield _warp_accel(width, height)
        yield _warp_gpu(width, height)
        yield _transfer_accel(width, height, *grid(width, height))


def _warp_accel(width: int, height: int) -> Kernel:
    return Kernel(
        f"warp_accel_{width}x{height}",
        lambda: build_warp_accel(width, height),
        lambda: map(warp_reference.accel_case, _warp_problems(width, height)),
        warp_accel_inputs(width, height),
        warp_accel_outputs(width, height),
        tolerance=tolerance.FLOAT_GRAY,
        delegates=("GPU", "HTP"),
        size=(width, height),
    )


def _warp_gpu(width: int, height: int) -> Kernel:
    return Kernel(
        f"warp_gpu_{width}x{height}",
        lambda: build_warp_gpu(width, height),
        lambda: map(warp_reference.gpu_case, _warp_problems(width, height)),
        warp_gpu_inputs(width, height),
        warp_gpu_outputs(width, height),
        tolerance=tolerance.FLOAT_GRAY,
        delegates=("GPU",),
        accepted=("fp16-coordinate",),
        cpu=False,
        size=(width, height),
    )


def _transfer_accel(width: int, height: int, columns: int, rows: int) -> Kernel:
    def cases() -> Iterator[Case]:
        problems = list(transfer_reference.transfer_problems_at(width, height, columns, rows))
        few = problems if width * height <= CORNER_PIXELS else problems[:1]
        return map(transfer_reference.accel_case, few)

    return Kernel(
        f"transfer_accel_{width}x{height}",
        lambda: build_transfer_accel(width, height, columns, rows),
        cases,
        transfer_accel_inputs(width, height, columns, rows),
        transfer_accel_outputs(width, height),
        tolerance=tolerance.FLOAT_GRAY,
        delegates=("XNNPACK", "GPU", "HTP"),
        size=(width, height),
    )


def _warp_problems(width: int, height: int) -> Iterator[warp_reference.WarpProblem]:
    yield warp_reference.noise_problem(width, height)
    if width * height <= CORNER_PIXELS:
        yield from warp_reference.checkerboard_problems(width, height)
