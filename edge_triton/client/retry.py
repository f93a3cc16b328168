"""Calls to an edge, retried with exponential backoff while the failure is transient."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from edge_triton.client.errors import edge_error, is_transient

_MIN_PAUSE_S = 0.05
_MAX_PAUSE_S = 1.0


def call_with_retries(attempt: Callable[[], Any], address: str, timeout_s: float, patience_s: float) -> Any:
    """Make a call, and retry it while it fails for a transient reason.

    Args:
        attempt: Makes the call once.
        address: Address of the edge, for the error.
        timeout_s: Deadline of one attempt, in seconds, for the error.
        patience_s: Time from the first attempt to the last retry, in seconds.

    Raises:
        EdgeUnavailableError: No answer, or none in time, or the retries are exhausted.
        EdgeRefusedError: The edge rejects the request.
    """
    from tritonclient.utils import InferenceServerException

    start = time.monotonic()
    pause = _MIN_PAUSE_S
    while True:
        try:
            return attempt()
        except InferenceServerException as err:
            pause_s = pause * random.uniform(0.5, 1.0)  # many phones must not come back in step
            is_late = time.monotonic() + pause_s - start > patience_s
            if is_late or not is_transient(err):
                raise edge_error(err, address, timeout_s) from err
        time.sleep(pause_s)
        pause = min(2 * pause, _MAX_PAUSE_S)
