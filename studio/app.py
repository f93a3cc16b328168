"""The studio's HTTP side: the page, and the few requests that it makes."""

from __future__ import annotations

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

from device_runtime.options import Interpolation, StylizeOptions
from mvstylizer.errors import MVStylizerError
from studio.errors import StudioError, TooLargeError
from studio.same_origin import SameOrigin
from studio.shelf import ROLES, Role, look_into
from studio.workbench import Workbench

PAGE: Final = Path(__file__).parent / "page"
# A browser reads an answer only after it has sent the whole file, or sees a broken connection instead of it.
MAX_DISCARDED: Final = 64_000_000
UNFIT: Final = 422


def make_app(workbench: Workbench) -> Starlette:
    """Return the application that serves one workbench.

    Args:
        workbench: What the page works on.
    """
    door = _Door(workbench)
    return Starlette(
        routes=[
            Route("/api/state", door.state),
            Route("/api/files/{role}", door.receive, methods=["PUT"]),
            Route("/api/files/{role}", door.give),
            Route("/api/job", door.start, methods=["POST"]),
            Route("/api/job", door.cancel, methods=["DELETE"]),
            Route("/api/result", door.result),
            Mount("/", StaticFiles(directory=PAGE, html=True)),
        ],
        # Other pages of the same browser reach loopback too: neither by another name nor from another origin.
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"], www_redirect=False),
            Middleware(SameOrigin),
        ],
        exception_handlers={MVStylizerError: door.refuse, HTTPException: _refuse_http},
    )


class _Door:
    """The handlers."""

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench

    async def state(self, request: Request) -> Response:
        return JSONResponse(self._workbench.state)

    async def receive(self, request: Request) -> Response:
        """Take a file from the request's body, as it is."""
        role = _role(request)
        body = request.stream()
        try:
            self._workbench.check_arrival(int(request.headers.get("content-length", 0)))
        except StudioError:
            await _discard(body)
            raise
        with self._workbench.shelf.arrival(request.query_params.get("name", "")) as path:
            await self._save(body, path)
            arrived = await run_in_threadpool(look_into, path, role)
            return JSONResponse(self._workbench.put(role, arrived).as_dict(), status_code=201)

    async def _save(self, body: AsyncIterator[bytes], path: Path) -> None:
        size = 0
        with path.open("wb") as file:
            async for chunk in body:
                size += len(chunk)
                if size > self._workbench.max_upload:  # it announced less, or nothing
                    self._workbench.check_arrival(size)
                await run_in_threadpool(file.write, chunk)

    async def give(self, request: Request) -> Response:
        kept = self._workbench.shelf.files.get(_role(request))
        return _file(kept.path if kept else None)

    async def result(self, request: Request) -> Response:
        path = self._workbench.shelf.result
        return _file(path, path.name if path and "download" in request.query_params else None)

    async def start(self, request: Request) -> Response:
        self._workbench.start(_recipe(await _json(request)))
        return JSONResponse(self._workbench.state, status_code=202)

    async def cancel(self, request: Request) -> Response:
        self._workbench.cancel()
        return JSONResponse(self._workbench.state, status_code=202)

    def refuse(self, request: Request, error: Exception) -> Response:
        """Say in one line what the user can mend, as the command line does."""
        line = self._workbench.shelf.line(cast("MVStylizerError", error))
        closes = {"Connection": "close"} if isinstance(error, TooLargeError) else None
        return JSONResponse({"error": line}, getattr(error, "status", UNFIT), closes)


def _refuse_http(request: Request, error: Exception) -> Response:
    known = cast("HTTPException", error)
    return JSONResponse({"error": known.detail}, known.status_code, known.headers)


def _role(request: Request) -> Role:
    role = request.path_params["role"]
    if role not in ROLES:
        raise HTTPException(404, f"There is no {role}")
    return cast("Role", role)


async def _json(request: Request) -> dict[str, Any]:
    try:
        value = await request.json()
    except ValueError as error:
        raise StudioError("The request is no JSON object") from error
    if not isinstance(value, dict):
        raise StudioError("The request is no JSON object")
    return value


def _recipe(options: dict[str, Any]) -> StylizeOptions:
    try:
        return StylizeOptions(
            str(options.get("key_frames", "codec")),
            cast("Interpolation", str(options.get("interpolation", "transfer"))),
            strength=float(options.get("strength", 1.0)),
        )
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
