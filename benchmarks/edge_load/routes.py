"""The ways from a frame to its stylization: in process, through Triton, through the gateway before it."""

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


class Asks:
    """What is asked: one frame in one style, and what is sent where the map alone is wanted.

    Args:
        bundle: The model.
        frame: uint8 RGB (H, W, 3).
        code: Its style code.
    """

    def __init__(self, bundle: Bundle, frame: Picture, code: NDArray[np.float32]) -> None:
        self.frame, self.code = frame, code
        self.small = shrunk(frame, int(bundle.network["network_pixels"]))

    def sent(self, reply: Reply) -> Picture:
        """Return the frame as a phone sends it for this reply."""
        return self.small if reply == "map" else self.frame


def in_process(stylizer: OnnxStylizer, asks: Asks, reply: Reply) -> Work:
    """Stylize in this process."""
    frame = asks.sent(reply)
    return lambda: stylizer.stylize(frame, asks.code, reply=reply)


def in_process_as_served(bundle: Bundle, asks: Asks, threads: int) -> Work:
    """Stylize in this process with the options of Triton's session: what Triton adds to it is transport."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        str(bundle.file("stylizer")), options, providers=["CPUExecutionProvider"]
    )
    feeds = {"frame": asks.frame[None], "style_code": asks.code[None], "r": np.ones(1, np.float32)}
    return lambda: session.run(["stylized"], feeds)


@contextmanager
def client(
    address: str,
    asks: Asks,
    reply: Reply,
    *,
    token: str = "",
    jpeg_quality: int | None = None,
    frugal: bool = False,
) -> Iterator[Work]:
    """Stylize through an edge; a refusal is an error, not a reason to try again."""
    frame = asks.sent(reply)
    with EdgeClient(
        address, timeout_s=TIMEOUT_S, patience_s=0, token=token, jpeg_quality=jpeg_quality, frugal=frugal
    ) as edge:
        yield lambda: edge.stylize(frame, asks.code, reply=reply)


@contextmanager
def shared_memory(address: str, asks: Asks, prefix: str) -> Iterator[Work]:
    """Stylize through Triton with frame and image in system shared memory, as tritonclient does it.

    Args:
        address: Triton's.
        asks: The frame; the image that comes back has its size.
        prefix: Start of the regions' names, which the server's keeper cleans up after.
    """
    import tritonclient.grpc as triton
    from tritonclient.utils import InferenceServerException
    from tritonclient.utils import shared_memory as regions

    frame, name = asks.frame, f"{prefix}bench_{secrets.token_hex(4)}"
    inputs = [
        triton.InferInput("frame", [1, *frame.shape], "UINT8"),
        triton.InferInput("style_code", [1, asks.code.size], "FP32"),
        triton.InferInput("r", [1], "FP32"),
    ]
    inputs[0].set_shared_memory(name, frame.nbytes)
    inputs[1].set_data_from_numpy(asks.code[None])
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
        # Triton answers before it lets go of a request's regions: it refuses, and forgets the region then.
        with suppress(InferenceServerException):
            server.unregister_system_shared_memory(name)
        server.close()
        regions.destroy_shared_memory_region(region)


@contextmanager
def serving(bundle: Path, tokens: int, *options: str) -> Iterator[tuple[str, list[str], int]]:
    """Run ``mvstylizer serve`` with so many clients' tokens, and further options.

    Yields:
        The gateway's address, the tokens, and the process id.

    Raises:
        ServeError: It ended before it was ready.
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
    """Wait for the line that says where it serves; read on after it, so that the pipe never fills."""
    assert process.stderr is not None
    last = ""
    for line in process.stderr:
        found = _READY.search(line)
        if found:
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return found[1]
        last = line.strip() or last
    raise ServeError(f"mvstylizer serve ended: {last}", "Start it by hand to see why")
