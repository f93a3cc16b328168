"""Waits for a new server to prove itself by an inference through both models."""

from __future__ import annotations

import threading
import time

import numpy as np

from edge_triton.client.client import EdgeClient, EdgeError
from edge_triton.triton.reaped_process import ReapedProcess
from edge_triton.triton.startup_errors import is_fatal, last_line, start_error

CANARY_SIZE = 64
"""Height and width of the canary frame, in pixels."""

_POLL_S = 0.05
_PROBE_TIMEOUT_S = 1.0


def await_first_inference(
    process: ReapedProcess, address: str, server_id: str, timeout_s: float, abandoned: threading.Event
) -> None:
    """Wait until a server has answered one inference of each model.

    Args:
        process: The server's process.
        address: ``HOST:PORT`` that it should listen on.
        server_id: Name that it reports; another program may have taken the port.
        timeout_s: Time for the start, in seconds, and for each inference.
        abandoned: Set to give up early.

    Raises:
        ServerStartError: It ended, cannot start, is not ready in time, or its models do not work.
    """
    deadline = time.monotonic() + timeout_s
    with EdgeClient(address, timeout_s=_PROBE_TIMEOUT_S, patience_s=0) as probe:
        while not _answers(probe, server_id):
            ending, log = process.ending(), process.log()
            if ending:
                raise start_error(ending, process.log())
            if is_fatal(log):
                raise start_error("cannot start", log)
            if abandoned.is_set():
                raise start_error("was stopped before it was ready", "")
            if time.monotonic() > deadline:
                raise start_error(f"did not start within {timeout_s:g} s", log)
            time.sleep(_POLL_S)
    with EdgeClient(address, timeout_s=timeout_s, patience_s=0) as client:
        try:
            _stylize_gray(client)
        except EdgeError as err:
            line = last_line(process.log()) or err.message
            raise start_error("started, but its models do not work", line) from err


def _answers(client: EdgeClient, server_id: str) -> bool:
    """Return whether the server with this id answers."""
    try:
        return client.server_info().name == server_id
    except EdgeError:
        return False


def _stylize_gray(client: EdgeClient) -> None:
    gray = np.full((CANARY_SIZE, CANARY_SIZE, 3), 128, np.uint8)
    client.stylize(gray, client.encode_style(gray), reply="both")
