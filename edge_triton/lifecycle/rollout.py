"""Model releases on a running edge: load a version next to the old one, canary-test it, then promote it.

The old version stays loaded, so a rollback only changes the version that the gateway names in each request. A
version that does not load, or fails its canary, never answers a request.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Iterable

import grpc

from edge_triton.gateway.serving_state import ServingState
from edge_triton.lifecycle.canary import run_canary
from edge_triton.lifecycle.release_folder import ReleaseFolder
from edge_triton.metrics import Metrics
from edge_triton.triton.repository import MODELS, write_config, write_model
from edge_triton.triton.server import TritonServer
from mvstylizer.bundle import Bundle, BundleError, TensorSpec
from mvstylizer.errors import MVStylizerError
from mvstylizer.release import ReleaseError

_LOG = logging.getLogger(__name__)
_POLL_S = 1.0
_CANARY_TIMEOUT_S = 60.0  # long: a release refused because the edge was busy would stay refused


class Releases:
    """Changes the version that an edge serves. Belongs to the edge's event loop.

    Args:
        server: The running Triton.
        state: Holds the loaded versions and the served one.
        metrics: Metrics of this edge.
    """

    def __init__(self, server: TritonServer, state: ServingState, metrics: Metrics) -> None:
        self._server = server
        self._state = state
        self._metrics = metrics

    async def promote(self, bundle: Bundle) -> None:
        """Load a bundle next to the served version, canary-test it, then serve it.

        The previously served version stays loaded; any older one is unloaded.

        Args:
            bundle: A version that is not loaded.

        Raises:
            BundleError: A file is missing or changed.
            ReleaseError: Its tensors differ from the served version's, it does not load, or it fails its
                canary.
        """
        async with self._state.changing:
            try:
                await self._load_and_test(bundle)
            except (BundleError, ReleaseError, OSError, ValueError):
                self._count("refused")
                raise
            self._count("promoted")

    def roll_back(self, version: int) -> None:
        """Serve another loaded version, from the next request on.

        Raises:
            ReleaseError: It is not loaded.
        """
        self._state.roll_back(version)
        self._count("rolled_back")

    async def follow(self, folder: ReleaseFolder) -> None:
        """Serve the highest usable version among a folder's bundles and the version served now.

        Removing the highest version brings the next lower one back. A refused bundle is retried when one of
        its files changes.

        Args:
            folder: Polled once a second until cancelled.
        """
        first = self._state.served
        while True:
            try:
                bundle, reasons = await asyncio.to_thread(folder.newest, first)
            except OSError as err:  # unavailable for a while, as a network disk may be: keep serving
                _LOG.warning("release folder: %s", err)
                await asyncio.sleep(_POLL_S)
                continue
            for reason in reasons:
                self._count("refused")
                _LOG.warning("refused a bundle: %s", reason)
            if bundle.version == self._state.version:
                await asyncio.sleep(_POLL_S)
                continue
            try:
                await self._switch_to(bundle)
            except (MVStylizerError, OSError, ValueError) as err:  # ValueError: a name no config can have
                folder.refuse(bundle)
                _LOG.warning("refused version %d: %s", bundle.version, err)
            else:
                _LOG.warning("serving version %d", bundle.version)

    async def _switch_to(self, bundle: Bundle) -> None:
        """Serve a bundle, without loading it if it is still loaded."""
        if bundle.version in self._state.bundles:
            self.roll_back(bundle.version)
        else:
            await self.promote(bundle)

    async def _load_and_test(self, bundle: Bundle) -> None:
        served = self._state.served
        _check_tensors(bundle, served)
        resident = (served.version, bundle.version)
        before = tuple(sorted(self._state.bundles))
        try:
            for spec in self._server.specs(bundle, resident):
                await asyncio.to_thread(write_model, self._server.repository, spec)
            await self._load()
            await self._test(bundle.version)
        except grpc.aio.AioRpcError as err:
            await self._revert(served, before, bundle.version)
            raise ReleaseError(f"Version {bundle.version} does not load", "Export the bundle again") from err
        except BaseException:
            await self._revert(served, before, bundle.version)
            raise
        self._state.promote(bundle)
        self._remove(set(before) - set(resident))

    async def _load(self) -> None:
        channel = self._state.channel
        if channel is None:
            raise ReleaseError("Triton is restarting", "Publish the bundle again in a minute")
        for model in MODELS:
            await channel.load(model, self._server.load_timeout_s)

    async def _test(self, version: int) -> None:
        result = await run_canary(self._state, version, _CANARY_TIMEOUT_S)
        if result != "good":
            raise ReleaseError(
                f"The canary inference of version {version} was {result}", "Export the bundle again"
            )

    async def _revert(self, served: Bundle, resident: tuple[int, ...], version: int) -> None:
        """Restore the configs of the previous versions, and have Triton load them again."""
        for spec in self._server.specs(served, resident):
            write_config(self._server.repository, spec)
        try:
            await self._load()
        except (grpc.aio.AioRpcError, ReleaseError):
            self._state.check_requested.set()  # a restart serves the previous versions
        self._remove({version})

    def _remove(self, versions: Iterable[int]) -> None:
        for version in versions:
            for model in MODELS:
                shutil.rmtree(self._server.repository / model / str(version), ignore_errors=True)

    def _count(self, event: str) -> None:
        self._metrics.releases.labels(event).inc()


def _check_tensors(bundle: Bundle, served: Bundle) -> None:
    """Refuse a bundle whose models take or return other tensors: clients would have to change with it."""
    for role in MODELS:
        ours, theirs = served.spec(role), bundle.spec(role)
        if _signature(ours.inputs) != _signature(theirs.inputs) or _signature(ours.outputs) != _signature(
            theirs.outputs
        ):
            raise ReleaseError(
                f"The {role} has other tensors in version {bundle.version} than in version {served.version}",
                "Serve the new version with a separate `mvstylizer serve`",
            )


def _signature(tensors: tuple[TensorSpec, ...]) -> set[tuple[str, str, tuple[int, ...]]]:
    return {(tensor.name, tensor.dtype, tensor.shape) for tensor in tensors}
