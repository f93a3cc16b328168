"""The TFLite kernels of a bundle: how each is built, and what it is compared with.

Every case of a kernel's reference (`warp_reference`, `transfer_reference`, `key_frame_reference` in this
folder) runs on every lane that a phone may use for the file. A difference from the formula in float64 fails
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
from export.runtimes import compiled_model, gpu, hexagon
from export.runtimes.compiled_model import run_compiled
from export.runtimes.cpu import CPU_LANES, flat, run_on_cpu
from export.runtimes.delegate_lint import Code, Delegate, lint
from export.runtimes.difference import Case, Differences, Tolerance
from export.runtimes.gpu import run_on_gpu
from export.runtimes.hexagon import run_on_htp
from export.sizes import WidthHeight
from mvstylizer.bundle import TensorSpec

BEYOND_HALF = "saturated"  # maps with entries of hundreds: too coarse in float16, and no picture needs them
MAX_HTP_CASES = 3
MAX_COMPILED_CASES = 4  # LiteRT prepares the file again for each shape, which the CPU lanes have covered
MAX_PIXELS_ALL_PROBLEMS = 512 * 256  # builds of larger sizes are checked with one problem instead of all


@dataclass(frozen=True)
class Kernel:
    """One kernel file of a bundle.

    Attributes:
        role: Role in the bundle, and the file's stem.
        build: Returns the file's content.
        cases: Yields inputs with the expected outputs.
        inputs: The manifest's rows of the inputs.
        outputs: The manifest's rows of the outputs.
        tolerance: Largest difference from the formula.
        peak: Range of the outputs, for PSNR.
        delegates: Delegates that must accept the whole file; see `export.runtimes.delegate_lint`.
        accepted: Codes of known findings, which do not fail the check.
        cpu: Whether a CPU can run the file.
        size: Frame size, if the file is built for one.
    """

    role: str
    build: Callable[[], bytes] = field(compare=False)  # role and tensors say what it is
    cases: Callable[[], Iterator[Case]] = field(compare=False)
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    tolerance: float = Tolerance.ROUNDED_GRAY
    peak: float = 255.0
    delegates: tuple[Delegate, ...] = ()
    accepted: tuple[Code, ...] = ()
    cpu: bool = True
    size: WidthHeight | None = None

    def check(self, content: bytes) -> dict[str, Any]:
        """Compare a file with the formula on every lane that this machine has.

        Args:
            content: The file.

        Returns:
            The manifest's parity row (`Differences.summary`), in units of the score or in gray levels of the
            real-valued result, of which rounding takes up to 0.5.

        Raises:
            ParityError: A case differs by more than the tolerance; names the case and the lane.
            LaneError: A lane cannot run the file.
            GraphError: A delegate that the file is built for would reject it, or compute it wrong.
        """
        self._lint(content)
        differences = Differences(f"Kernel {self.role}", self.tolerance, self.peak)
        kept: list[Case] = []
        cases = list(self.cases())
        for case in cases:
            for lane in CPU_LANES if self.cpu else ():
                differences.add(case.name, lane, flat(run_on_cpu(content, case.inputs, lane)), case.expected)
            if self.size:
                kept.append(case)
        if self.cpu:
            some = cases[:: max(1, len(cases) // MAX_COMPILED_CASES)]
            for case, outputs in zip(some, run_compiled(content, some), strict=True):
                differences.add(case.name, compiled_model.LANE, flat(outputs), case.expected)
        if "GPU" in self.delegates and not gpu.why_missing():
            for case, outputs in zip(kept, run_on_gpu(content, kept), strict=True):
                differences.add(case.name, gpu.LANE, flat(outputs), case.expected)
        if self._on_htp():
            kept = [case for case in kept if not case.name.startswith(BEYOND_HALF)][:MAX_HTP_CASES]
            for case, outputs in zip(kept, run_on_htp(content, kept), strict=True):
                differences.add(
                    case.name, hexagon.LANE, flat(outputs), case.expected, tolerance=Tolerance.HALF_GRAY
                )
        return differences.summary()

    def _on_htp(self) -> bool:
        small = self.size is not None and self.size[0] * self.size[1] <= hexagon.MAX_PIXELS
        return "HTP" in self.delegates and small and not hexagon.why_missing()

    def _lint(self, content: bytes) -> None:
        found = [f for f in lint(content) if f.delegate in self.delegates and f.code not in self.accepted]
        if found:
            raise GraphError(f"Kernel {self.role} is not suitable for {found[0]}")


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
        tolerance=Tolerance.FEATURE,
        peak=1.0,
    ),
}
"""The kernels for any frame size, by role."""


def sized_kernels(
    sizes: Sequence[WidthHeight], grid: Callable[[int, int], tuple[int, int, int]]
) -> Iterator[Kernel]:
    """Yield the kernels for accelerators, which need static shapes.

    Args:
        sizes: Frame sizes; each kernel is built for each of them.
        grid: Returns columns, rows and bins of the map of a frame of width × height.
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
        tolerance=Tolerance.FLOAT_GRAY,
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
        tolerance=Tolerance.FLOAT_GRAY,
        delegates=("GPU",),
        accepted=("fp16-coordinate",),
        cpu=False,
        size=(width, height),
    )


def _transfer_accel(width: int, height: int, columns: int, rows: int, bins: int) -> Kernel:
    def cases() -> Iterator[Case]:
        problems = list(transfer_reference.transfer_problems_at(width, height, columns, rows, bins))
        few = problems if width * height <= MAX_PIXELS_ALL_PROBLEMS else problems[:1]
        return map(transfer_reference.accel_case, few)

    return Kernel(
        f"transfer_accel_{width}x{height}",
        lambda: build_transfer_accel(width, height, columns, rows, bins),
        cases,
        transfer_accel_inputs(width, height, columns, rows, bins),
        transfer_accel_outputs(width, height),
        tolerance=Tolerance.FLOAT_GRAY,
        delegates=("XNNPACK", "GPU", "HTP"),
        size=(width, height),
    )


def _warp_problems(width: int, height: int) -> Iterator[warp_reference.WarpProblem]:
    yield warp_reference.noise_problem(width, height)
    if width * height <= MAX_PIXELS_ALL_PROBLEMS:
        yield from warp_reference.checkerboard_problems(width, height)
