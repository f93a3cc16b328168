"""The phone's door to an edge: KServe v2 over gRPC, as tritonclient speaks it.

The same calls work against the bundled server, the official container and the gateway. Frames travel as raw
uint8, or between a frugal client and a gateway as JPEG, and maps packed: a key frame of 512×288 and its map
are then some 35 kB up and 15 kB down. Asking for the map alone spares the edge the full-size work.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_triton.client.connection import Tls, check_address, connect
from edge_triton.client.encoding import Wire, unpacked
from edge_triton.client.errors import (
    EdgeAddressError,
    EdgeError,
    EdgeRefusedError,
    EdgeTlsError,
    EdgeUnavailableError,
    edge_error,
    is_passing,
)
from mvstylizer.stylizer import Reply, StylizedFrame

__all__ = [
    "EdgeAddressError",
    "EdgeClient",
    "EdgeError",
    "EdgeRefusedError",
    "EdgeTlsError",
    "EdgeUnavailableError",
    "ServerInfo",
    "Tls",
    "check_address",
]

_OUTPUTS: dict[Reply, tuple[str, ...]] = {
    "image": ("stylized",),
    "map": ("affine_map",),
    "both": ("stylized", "affine_map"),
}
_DTYPES = {"uint8": "UINT8", "float32": "FP32", "object": "BYTES"}
_FIRST_PAUSE_S = 0.05
_MAX_PAUSE_S = 1.0


class ServerInfo(NamedTuple):
    """What a server says about itself: its name (the bundled one's is unique) and its version."""

    name: str
    version: str


class EdgeClient:
    """One connection to an edge; a context manager. Use one per thread.

    A call that fails for a passing reason (edge restarting, draining, overloaded) is repeated, with growing
    pauses, as long as no more than `patience_s` have gone by since it began. Stylizing has no side effects,
    so repeating is safe.

    Args:
        address: ``HOST:PORT``.
        timeout_s: Deadline of one attempt, in seconds.
        patience_s: How long new attempts are made after the first, in seconds; 0 = a single attempt.
        model_version: Model version to ask for; empty = the edge's choice.
        tls: Speak TLS with the edge; None = in the clear.
        token: Bearer token; send one over TLS only.
        keep_for_training: Let the edge learn from what is sent (gateways only); see `forget_me`.
        jpeg_quality: Send and get images as JPEG of this quality, 1 to 100 (gateways only): a tenth of the
            bytes, for some milliseconds at each end. None = raw.
        frugal: Spare bytes where the other side can: with a gateway, images go as JPEG of the best quality
            that keeps 2.2 bits a pixel and maps come packed (a tenth of a grey level away); with Triton
            itself everything is raw. What the other side is, is asked before the first inference.

    Raises:
        EdgeAddressError: The address is not HOST:PORT.
        EdgeTlsError: A TLS file cannot be read.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout_s: float = 30.0,
        patience_s: float = 6.0,
        model_version: str = "",
        tls: Tls | None = None,
        token: str = "",
        jpeg_quality: int | None = None,
        keep_for_training: bool = False,
        frugal: bool = False,
    ) -> None:
        self.address = check_address(address)
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._version = model_version
        self._headers = {"authorization": f"Bearer {token}"} if token else None
        self._jpeg_quality = jpeg_quality
        self._wire = None if frugal else Wire(jpeg_quality)  # None = the other side is still to be asked
        self._retrain = "keep" if keep_for_training else ""
        self._client = connect(self.address, tls)

    def __enter__(self) -> EdgeClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls after it fail."""
        self._client.close()

    def encode_style(self, style: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the style code of a style photo.

        Args:
            style: uint8 RGB (H, W, 3), any size.

        Returns:
            float32 (K,), read-only.

        Raises:
            EdgeUnavailableError: No answer, or none in time.
            EdgeRefusedError: The edge refuses the photo.
            ValueError: Not a uint8 RGB image.
        """
        _check_image(style)
        (code,), *_ = self._infer("style_encoder", {"style": style[None]}, ("style_code",))
        return self._shaped(code, np.float32, (-1,))

    def stylize(
        self,
        frame: NDArray[np.uint8],
        style_code: NDArray[np.float32],
        *,
        r: float = 1.0,
        reply: Reply = "image",
    ) -> StylizedFrame:
        """Stylize one key frame.

        Args:
            frame: uint8 RGB (H, W, 3).
            style_code: float32 (K,), from `encode_style` of the same model.
            r: Upscaling factor > 0; the image comes back as (round(r·H), round(r·W)).
            reply: What to send back: the image, the affine map, or both.

        Returns:
            What was asked for, as read-only arrays.

        Raises:
            EdgeUnavailableError: No answer, or none in time.
            EdgeRefusedError: The edge refuses the frame.
            ValueError: Not a uint8 RGB image, or a style code of another shape.
        """
        _check_image(frame)
        if style_code.ndim != 1:
            raise ValueError(f"a style code is (K,), not {style_code.shape}")
        inputs: dict[str, NDArray[Any]] = {
            "frame": frame[None],
            "style_code": style_code[None].astype(np.float32, copy=False),
            "r": np.array([r], np.float32),
        }
        names = _OUTPUTS[reply]
        outputs, sent, received = self._infer("stylizer", inputs, names)
        got = dict(zip(names, outputs, strict=True))
        image, grid = got.get("stylized"), got.get("affine_map")
        return StylizedFrame(
            None if image is None else self._shaped(image, np.uint8, (-1, -1, 3)),
            None
            if grid is None
            else self._shaped(grid, np.float32, (-1, -1, 12)).reshape(*grid.shape[1:3], 3, 4),
            sent,
            received,
        )

    def forget_me(self) -> None:
        """Let the edge remove all that it has kept of this client for training (gateways only).

        Raises:
            EdgeUnavailableError: No answer, none in time, or it could not.
            EdgeRefusedError: The edge refuses.
        """
        self._infer("style_encoder", {"style": np.zeros((1, 16, 16, 3), np.uint8)}, ("style_code",), "forget")

    def server_info(self) -> ServerInfo:
        """Ask the server for its name and version.

        Raises:
            EdgeUnavailableError: No answer, or none in time.
            EdgeRefusedError: The edge refuses to say.
        """
        answer = self._call(
            lambda: self._client.get_server_metadata(headers=self._headers, client_timeout=self._timeout_s)
        )
        return ServerInfo(answer.name, answer.version)

    def _infer(
        self, model: str, inputs: dict[str, NDArray[Any]], outputs: Sequence[str], retrain: str = ""
    ) -> tuple[list[NDArray[Any] | None], int, int]:
        """Run one model; return its outputs in the order asked for, and the bytes sent and received."""
        from tritonclient.grpc import InferInput, InferRequestedOutput

        wire = self._wire = self._wire or self._agreed()
        tensors, bytes_sent = [], 0
        for name, value in inputs.items():
            sent = wire.packed(name, value)
            tensor = InferInput(wire.name(name), list(sent.shape), _DTYPES[sent.dtype.name])
            tensor.set_data_from_numpy(np.ascontiguousarray(sent))
            tensors.append(tensor)
            bytes_sent += len(sent[0]) if sent.dtype == np.object_ else sent.nbytes
        names = [wire.name(name) for name in outputs]
        wanted = [InferRequestedOutput(name) for name in names]
        parameters = {"jpeg_quality": wire.reply_quality, "retrain": retrain or self._retrain}
        result = self._call(
            lambda: self._client.infer(
                model,
                tensors,
                self._version,
                outputs=wanted,
                headers=self._headers,
                client_timeout=self._timeout_s,
                parameters={key: value for key, value in parameters.items() if value},
            )
        )
        try:
            received = sum(len(raw) for raw in result.get_response().raw_output_contents)
            return [unpacked(name, result.as_numpy(name)) for name in names], bytes_sent, received
        except ValueError as err:
            raise self._nonsense() from err

    def _agreed(self) -> Wire:
        """Ask the other side whether it has the forms that spare bytes."""
        metadata = self._call(
            lambda: self._client.get_model_metadata(
                "stylizer", self._version, headers=self._headers, client_timeout=self._timeout_s
            )
        )
        names = [tensor.name for tensor in (*metadata.inputs, *metadata.outputs)]
        return Wire(self._jpeg_quality, Wire.spares_bytes(names))

    def _call(self, attempt: Any) -> Any:
        """Make a call, again while it fails for a passing reason and patience lasts."""
        from tritonclient.utils import InferenceServerException

        began = time.monotonic()
        pause = _FIRST_PAUSE_S
        while True:
            try:
                return attempt()
            except InferenceServerException as err:
                pause_s = pause * random.uniform(0.5, 1.0)  # many phones must not come back in step
                late = time.monotonic() + pause_s - began > self._patience_s
                if late or not is_passing(err):
                    raise edge_error(err, self.address, self._timeout_s) from err
            time.sleep(pause_s)
            pause = min(2 * pause, _MAX_PAUSE_S)

    def _shaped(
        self, value: NDArray[Any] | None, dtype: type[np.generic], shape: tuple[int, ...]
    ) -> NDArray[Any]:
        """Take the leading 1 off a reply after checking what came."""
        if value is None or value.dtype != dtype or value.ndim != len(shape) + 1 or value.shape[0] != 1:
            raise self._nonsense()
        if any(want not in (-1, have) for want, have in zip(shape, value.shape[1:], strict=True)):
            raise self._nonsense()
        reply: NDArray[Any] = value[0]
        return reply

    def _nonsense(self) -> EdgeUnavailableError:
        return EdgeUnavailableError(
            f"The edge at {self.address} sent a reply of another shape than the stylizer's",
            "Check that it serves a bundle of this kit: mvstylizer serve --bundle BUNDLE",
        )


def _check_image(image: NDArray[np.uint8]) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"an image is uint8 (H, W, 3), not {image.dtype} {image.shape}")
