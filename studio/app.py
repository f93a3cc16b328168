"""HTTP application of the studio: the page and its API."""

from __future__ import annotations

import errno
import json
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, cast

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from device_runtime.media.photo import PhotoSizeError
from device_runtime.media.video_info import VideoSizeError
from device_runtime.options import DEFAULT_OPTIONS, StylizeOptions
from device_runtime.preview.variants import MATCHES
from mvstylizer.errors import MVStylizerError
from studio.errors import DiskFullError, StudioError, TooLargeError
from studio.media_library import ROLES, Role, inspect_file
from studio.same_origin import SameOrigin
from studio.workbench import Workbench

PAGE: Final = Path(__file__).parent / "page"
# Browsers read a response only after sending the whole file; otherwise they report a broken connection.
MAX_DISCARDED: Final = 64_000_000
MAX_JSON: Final = 64_000  # bytes; the options take some hundred
UNPROCESSABLE: Final = 422
_WRONG_SIZE: Final = (PhotoSizeError, VideoSizeError)


def make_app(workbench: Workbench) -> Starlette:
    """Return the application that serves one workbench.

    Args:
        workbench: State of the page.
    """
    handlers = _Handlers(workbench)
    return Starlette(
        routes=[
            Route("/api/state", handlers.state),
            Route("/api/files/{role}", handlers.receive, methods=["PUT"]),
            Route("/api/files/{role}", handlers.send),
            Route("/api/preview/{name}", handlers.preview),
            Route("/api/job", handlers.start, methods=["POST"]),
            Route("/api/job", handlers.cancel, methods=["DELETE"]),
            Route("/api/result", handlers.result),
            Mount("/", StaticFiles(directory=PAGE, html=True)),
        ],
        # Other sites in the same browser can reach loopback too; refuse other host names and origins.
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"], www_redirect=False),
            Middleware(SameOrigin),
        ],
        exception_handlers={
            MVStylizerError: handlers.refuse,
            OSError: handlers.refuse_by_system,
            HTTPException: _refuse_http,
        },
    )


class _Handlers:
    """Request handlers."""

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench

    async def state(self, request: Request) -> Response:
        return JSONResponse(self._workbench.state)

    async def receive(self, request: Request) -> Response:
        """Store the request body as a file."""
        role = _role(request)
        body = request.stream()
        try:
            self._workbench.check_upload(int(request.headers.get("content-length", 0)))
        except StudioError:
            await _discard(body)
            raise
        with self._workbench.library.upload(request.query_params.get("name", "")) as path:
            await self._save(body, path)
            uploaded = await run_in_threadpool(inspect_file, path, role)
            return JSONResponse(self._workbench.put(role, uploaded).as_dict(), status_code=201)

    async def _save(self, body: AsyncIterator[bytes], path: Path) -> None:
        size = 0
        with path.open("wb") as file:
            async for chunk in body:
                size += len(chunk)
                if size > self._workbench.max_upload:  # the declared length was smaller or missing
                    self._workbench.check_upload(size)
                await run_in_threadpool(file.write, chunk)

    async def send(self, request: Request) -> Response:
        file = self._workbench.library.files.get(_role(request))
        return _file(file.path if file else None)

    async def result(self, request: Request) -> Response:
        path = self._workbench.library.result
        return _file(path, path.name if path and "download" in request.query_params else None)

    async def preview(self, request: Request) -> Response:
        """Send one frame at one match."""
        try:
            at_s = float(request.query_params.get("at", 0))
        except ValueError as error:
            raise StudioError("at is not a time in seconds") from error
        if not math.isfinite(at_s):
            raise StudioError("at is not a time in seconds")
        made = self._workbench.preview(request.path_params["name"], at_s)
        return Response(
            await run_in_threadpool(made), media_type="image/jpeg", headers={"Cache-Control": "no-store"}
        )

    async def start(self, request: Request) -> Response:
        self._workbench.start(_options(await _json(request)))
        return JSONResponse(self._workbench.state, status_code=202)

    async def cancel(self, request: Request) -> Response:
        self._workbench.cancel()
        return JSONResponse(self._workbench.state, status_code=202)

    def refuse(self, request: Request, error: Exception) -> Response:
        """Return an error that the user can fix as one line, in the command line's words."""
        line = self._workbench.library.line(cast("MVStylizerError", error))
        closes = {"Connection": "close"} if isinstance(error, TooLargeError) else None
        status = TooLargeError.status if isinstance(error, _WRONG_SIZE) else UNPROCESSABLE
        return JSONResponse({"error": line}, getattr(error, "status", status), closes)

    def refuse_by_system(self, request: Request, error: Exception) -> Response:
        """Return an error of the disk as one line: 507 if it is full, otherwise 500."""
        known = cast("OSError", error)
        if known.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return self.refuse(
                request, DiskFullError("The disk has no room for this file", "Free some space, or set TMPDIR")
            )
        return JSONResponse({"error": f"The disk failed ({known.strerror})"}, 500)


def _refuse_http(request: Request, error: Exception) -> Response:
    known = cast("HTTPException", error)
    return JSONResponse({"error": known.detail}, known.status_code, known.headers)


def _role(request: Request) -> Role:
    role = request.path_params["role"]
    if role not in ROLES:
        raise HTTPException(404, f"There is no {role}")
    return cast("Role", role)


async def _json(request: Request) -> dict[str, Any]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_JSON:
            raise TooLargeError(f"The options are larger than {MAX_JSON // 1000} kB", "Send the options only")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise StudioError("The request is not a JSON object") from error
    if not isinstance(value, dict):
        raise StudioError("The request is not a JSON object")
    return value


def _options(chosen: dict[str, Any]) -> StylizeOptions:
    try:
        return StylizeOptions(
            policy=str(chosen.get("key_frames", DEFAULT_OPTIONS.policy)),
            interpolation=chosen.get("interpolation", DEFAULT_OPTIONS.interpolation),
            strength=float(chosen.get("strength", DEFAULT_OPTIONS.strength)),
            match=MATCHES[str(chosen.get("match", "auto"))],
        )
    except KeyError as error:
        raise StudioError(f"match {error} is not one of {', '.join(MATCHES)}") from error
    except (TypeError, ValueError) as error:
        raise StudioError(str(error)) from error


def _file(path: Path | None, download_as: str | None = None) -> Response:
    if path is None:
        raise HTTPException(404, "There is no such file yet")
    return FileResponse(path, filename=download_as, headers={"Cache-Control": "no-store"})


async def _discard(body: AsyncIterator[bytes]) -> None:
    size = 0
    async for chunk in body:
        size += len(chunk)
        if size > MAX_DISCARDED:
            return
