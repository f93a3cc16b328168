"""The client of an edge: KServe v2 over gRPC, through tritonclient.

    with EdgeClient("127.0.0.1:8001") as client:
        code = client.encode_style(photo)
        image = client.stylize(frame, code).image

The same calls work against the bundled server, the official container and the gateway. Frames travel as raw
uint8. Between a frugal client and a gateway they travel as JPEG, and maps are packed: a key frame of 512×288
and its map then take some 35 kB up and at most 10 kB down. Requesting only the map saves the full-size work.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_triton.client import replies
from edge_triton.client.connection import Tls, check_address, connect
from edge_triton.client.encoding import GRID, OLD_MAP, Wire, wire_inputs
from edge_triton.client.errors import (
    EdgeAddressError,
    EdgeError,
    EdgeRefusedError,
    EdgeTlsError,
    EdgeUnavailableError,
)
from edge_triton.client.replies import STYLE_CODE, Bounds, ReplyError, image_bounds, read_output
from edge_triton.client.retry import call_with_retries
from edge_triton.client.trace import TRACEPARENT, new_trace_id, traceparent
from mvstylizer.errors import printable
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
    "map": (GRID,),
    "both": ("stylized", GRID),
}


class ServerInfo(NamedTuple):
    """Name and version of a server; each bundled server has a unique name."""

    name: str
    version: str


class EdgeClient:
    """One connection to an edge; a context manager. Use one per thread.

    A call that fails for a transient reason (edge restarting, draining, overloaded) is retried with
    exponential backoff, for up to `patience_s`. Stylizing has no side effects, so retries are safe.

    Args:
        address: ``HOST:PORT``.
        timeout_s: Deadline of one attempt, in seconds.
        patience_s: Time from the first attempt to the last retry, in seconds; 0 = a single attempt.
        model_version: Model version to request; empty = the one that the edge serves.
        tls: Use TLS; None = plain text.
        token: Bearer token; send one over TLS only.
        keep_for_training: Let the edge store what is sent for training (gateways only); see `forget_me`.
        jpeg_quality: Send and receive images as JPEG of this quality, 1 to 100 (gateways only): a tenth of
            the bytes, for some milliseconds at each end. None = raw.
        frugal: Save bytes if the edge is a gateway: images are JPEG of the best quality within 2.2 bits per
            pixel, and maps are packed, which changes a picture by less than half a gray level. With Triton
            itself everything is raw. The first inference is preceded by a request for the edge's metadata.

    Attributes:
        address: The edge.
        trace_id: W3C trace id of all its requests, to find them in the logs of the edge and of Triton.

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
        self.trace_id = new_trace_id()
        self._token = token
        self._jpeg_quality = jpeg_quality
        self._wire = None if frugal else Wire(jpeg_quality)  # None = not known yet
        self._retrain = "keep" if keep_for_training else ""
        self._client = connect(self.address, tls)

    def __enter__(self) -> EdgeClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; later calls fail."""
        self._client.close()

    def encode_style(self, style: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the style code of a style photo.

        Args:
            style: uint8 RGB (H, W, 3), any size.

        Returns:
            float32 (K,), read-only.

        Raises:
            EdgeUnavailableError: No answer, or none in time.
            EdgeRefusedError: The edge rejects the photo.
            ValueError: Not a uint8 RGB image.
        """
        _check_image(style)
        (code,), *_ = self._infer("style_encoder", {"style": style[None]}, {"style_code": STYLE_CODE})
        return code

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
            reply: Outputs to return: the image, the map, or both.

        Returns:
            The requested outputs, as read-only arrays.

        Raises:
            EdgeUnavailableError: No answer, or none in time.
            EdgeRefusedError: The edge rejects the frame.
            ValueError: Not a uint8 RGB image, or a style code that is not one-dimensional.
        """
        _check_image(frame)
        if style_code.ndim != 1:
            raise ValueError(f"a style code must be (K,), not {style_code.shape}")
        inputs: dict[str, NDArray[Any]] = {
            "frame": frame[None],
            "style_code": style_code[None].astype(np.float32, copy=False),
            "r": np.array([r], np.float32),
        }
        bounds = {"stylized": image_bounds(frame, r), GRID: replies.GRID}
        wanted = {name: bounds[name] for name in _OUTPUTS[reply]}
        outputs, sent, received = self._infer("stylizer", inputs, wanted)
        got = dict(zip(wanted, outputs, strict=True))
        grid = got.get(GRID)
        return StylizedFrame(
            got.get("stylized"),
            None if grid is None else grid.reshape(*grid.shape[:3], 3, 4),
            sent,
            received,
        )

    def forget_me(self) -> None:
        """Have the edge delete everything that it has stored of this client for training (gateways only).

        Raises:
            EdgeUnavailableError: No answer, none in time, or the deletion failed.
            EdgeRefusedError: The edge rejects the request.
        """
        gray = np.zeros((1, 16, 16, 3), np.uint8)
        self._infer("style_encoder", {"style": gray}, {"style_code": STYLE_CODE}, "forget")

    def server_info(self) -> ServerInfo:
        """Return the server's name and version.

        Raises:
            EdgeUnavailableError: No answer, or none in time.
            EdgeRefusedError: The edge rejects the request.
        """
        answer = self._call(
            lambda: self._client.get_server_metadata(headers=self._headers(), client_timeout=self._timeout_s)
        )
        return ServerInfo(printable(answer.name), printable(answer.version))

    def _infer(
        self, model: str, inputs: dict[str, NDArray[Any]], outputs: Mapping[str, Bounds], retrain: str = ""
    ) -> tuple[list[NDArray[Any]], int, int]:
        """Run one model; return its outputs in the requested order, and the bytes sent and received."""
        from tritonclient.grpc import InferRequestedOutput

        wire = self._wire = self._wire or self._negotiated()
        tensors, bytes_sent = wire_inputs(wire, inputs)
        names = [wire.name(name) for name in outputs]
        parameters = {"jpeg_quality": wire.reply_quality, "retrain": retrain or self._retrain}
        try:
            result = self._call(
                lambda: self._client.infer(
                    model,
                    tensors,
                    self._version,
                    outputs=[InferRequestedOutput(name) for name in names],
                    headers=self._headers(),
                    client_timeout=self._timeout_s,
                    parameters={key: value for key, value in parameters.items() if value},
                )
            )
        except EdgeRefusedError:
            if GRID in outputs:
                with contextlib.suppress(EdgeUnavailableError):
                    self._check_offers_grids()
            raise
        response = result.get_response()
        received = sum(map(len, response.raw_output_contents))
        try:
            pairs = zip(names, outputs.values(), strict=True)
            return [read_output(response, name, bounds) for name, bounds in pairs], bytes_sent, received
        except ReplyError as err:
            raise EdgeUnavailableError(
                f"The edge at {self.address} sent a wrong reply: {err}",
                "Check that it serves a bundle of this kit: mvstylizer serve --bundle BUNDLE",
            ) from err

    def _headers(self) -> dict[str, str]:
        """Return the headers of one request: a new span of this client's trace, and the token."""
        token = {"authorization": f"Bearer {self._token}"} if self._token else {}
        return {TRACEPARENT: traceparent(self.trace_id), **token}

    def _negotiated(self) -> Wire:
        """Return the most compact encoding that the edge offers, by its metadata."""
        return Wire(self._jpeg_quality, Wire.supports_frugal(self._check_offers_grids()))

    def _check_offers_grids(self) -> list[str]:
        """Return the names of the stylizer's tensors.

        Raises:
            EdgeUnavailableError: No answer, or none in time.
            EdgeRefusedError: The edge is of an older version, or rejects the request.
        """
        metadata = self._call(
            lambda: self._client.get_model_metadata(
                "stylizer", self._version, headers=self._headers(), client_timeout=self._timeout_s
            )
        )
        names = [tensor.name for tensor in (*metadata.inputs, *metadata.outputs)]
        if OLD_MAP in names and GRID not in names:
            raise EdgeRefusedError(
                f"The edge at {self.address} is older than this client: it offers affine_map, not grid",
                "Update mvstylizer and its bundle on the edge, and restart `mvstylizer serve`",
            )
        return names

    def _call(self, attempt: Callable[[], Any]) -> Any:
        return call_with_retries(attempt, self.address, self._timeout_s, self._patience_s)


def _check_image(image: NDArray[np.uint8]) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"an image must be uint8 (H, W, 3), not {image.dtype} {image.shape}")
