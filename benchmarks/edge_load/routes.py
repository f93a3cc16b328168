"""Routes to a stylized frame: in process, through Triton, and through the gateway."""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from benchmarks.data.footage import Picture
from benchmarks.harness.timing import Work
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from device_runtime.stylizers.resize import shrunk
from edge_triton.client.client import EdgeClient, EdgeUnavailableError
from mvstylizer.bundle import Bundle
from mvstylizer.errors import MVStylizerError
from mvstylizer.stylizer import Reply

TIMEOUT_S: Final = 120.0
_READY: Final = re.compile(r"Serving on (\S+), health on (\S+)")


class ServeError(MVStylizerError):
    """`mvstylizer serve` does not start."""


class SampleRequest:
    """The request to measure: one frame with one style.

    Args:
        bundle: The model.
        frame: uint8 RGB (H, W, 3).
        code: Style code.
    """

    def __init__(self, bundle: Bundle, frame: Picture, code: NDArray[np.float32]) -> None:
        self.frame, self.code = frame, code
        self.small = shrunk(frame, int(bundle.network["network_pixels"]))

    def sent(self, reply: Reply) -> Picture:
        """Return the frame as a phone sends it: full size, or network size if only the map is needed."""
        return self.small if reply == "map" else self.frame


def in_process(stylizer: OnnxStylizer, sample: SampleRequest, reply: Reply) -> Work:
    """Stylize in this process."""
    frame = sample.sent(reply)
    return lambda: stylizer.stylize(frame, sample.code, reply=reply)


def in_process_as_served(bundle: Bundle, sample: SampleRequest, threads: int) -> Work:
    """Stylize in this process with the session options of Triton, so that the difference is transport."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        str(bundle.file("stylizer")), options, providers=["CPUExecutionProvider"]
    )
    feeds = {"frame": sample.frame[None], "style_code": sample.code[None], "r": np.ones(1, np.float32)}
    return lambda: session.run(["stylized"], feeds)


@contextmanager
def client(
    address: str,
    sample: SampleRequest,
    reply: Reply,
    *,
    token: str = "",
    jpeg_quality: int | None = None,
    frugal: bool = False,
) -> Iterator[Work]:
    """Stylize through an edge; a refused request is an error and is not retried."""
    frame = sample.sent(reply)
    with EdgeClient(
        address, timeout_s=TIMEOUT_S, patience_s=0, token=token, jpeg_quality=jpeg_quality, frugal=frugal
    ) as edge:
        yield lambda: edge.stylize(frame, sample.code, reply=reply)


@contextmanager
def shared_memory(address: str, sample: SampleRequest, prefix: str) -> Iterator[Work]:
    """Stylize through Triton with frame and image in system shared memory.

    Args:
        address: Address of Triton.
        sample: The request; the returned image has the size of its frame.
        prefix: Prefix of the region names, by which the server cleans them up.
    """
    import tritonclient.grpc as triton
    from tritonclient.utils import InferenceServerException
    from tritonclient.utils import shared_memory as regions

    frame, name = sample.frame, f"{prefix}bench_{secrets.token_hex(4)}"
    inputs = [
        triton.InferInput("frame", [1, *frame.shape], "UINT8"),
        triton.InferInput("style_code", [1, sample.code.size], "FP32"),
        triton.InferInput("r", [1], "FP32"),
    ]
    inputs[0].set_shared_memory(name, frame.nbytes)
    inputs[1].set_data_from_numpy(sample.code[None])
    inputs[2].set_data_from_numpy(np.ones(1, np.float32))
    output = triton.InferRequestedOutput("stylized")
    output.set_shared_memory(name, frame.nbytes, offset=frame.nbytes)
    region: Any = regions.create_shared_memory_region(name, f"/{name}", 2 * frame.nbytes)
    server = triton.InferenceServerClient(address)

    def request() -> NDArray[np.uint8]:
        regions.set_shared_memory_region(region, [frame])
        try:
            server.infer("stylizer", inputs, outputs=[output], client_timeout=TIMEOUT_S)
        except InferenceServerException as err:
            raise EdgeUnavailableError(str(err.message())) from err
        view = regions.get_contents_as_numpy(region, np.uint8, frame.shape, offset=frame.nbytes)
        return np.array(view)  # the next request overwrites it

    try:
        server.register_system_shared_memory(name, f"/{name}", 2 * frame.nbytes)
        yield request
    finally:
        # Triton may reply before it releases a region; unregistering then fails, but the region is dropped.
        with suppress(InferenceServerException):
            server.unregister_system_shared_memory(name)
        server.close()
        regions.destroy_shared_memory_region(region)


@contextmanager
def serving(bundle: Path, tokens: int, *options: str) -> Iterator[tuple[str, list[str], int]]:
    """Run ``mvstylizer serve`` with a number of client tokens and further options.

    Yields:
        The gateway's address, the tokens, and the process id.

    Raises:
        ServeError: The process exited before it was ready.
    """
    known = [secrets.token_hex(16) for _ in range(tokens)]
    with tempfile.TemporaryDirectory(prefix="mvstylizer-serving-") as folder:
        file = Path(folder) / "tokens.txt"
        file.write_text("".join(f"phone{number} {token}\n" for number, token in enumerate(known)))
        command = [sys.executable, "-m", "mvstylizer_cli", "serve", "--bundle", str(bundle), "--port", "0"]
        command += ["--token-file", str(file), *options]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            address = _address(process)
            yield address, known, process.pid
        finally:
            process.terminate()
            process.wait()


def _address(process: subprocess.Popen[str]) -> str:
    """Return the address that the process prints, then drain its output so that the pipe never fills."""
    assert process.stderr is not None
    last = ""
    for line in process.stderr:
        found = _READY.search(line)
        if found:
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return found[1]
        last = line.strip() or last
    raise ServeError(f"mvstylizer serve exited: {last}", "Run it manually to see why")
