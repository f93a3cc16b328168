"""Model releases on a running edge: a new version is loaded beside the old one, tried, and then meant.

The old version stays loaded, so that going back is one pointer in the gateway, which names the version in
every request. A version that does not load or fails its canary never answers anyone.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Iterable

import grpc

from edge_triton.gateway.gateway import Gateway
from edge_triton.lifecycle.release_folder import WatchedFolder
from edge_triton.lifecycle.supervisor import Supervisor
from edge_triton.metrics import Metrics
from edge_triton.triton.repository import MODELS, write_config, write_model
from edge_triton.triton.server import TritonServer
from mvstylizer.bundle import Bundle, BundleError, TensorSpec
from mvstylizer.errors import MVStylizerError
from mvstylizer.release import ReleaseError

_LOG = logging.getLogger(__name__)
_LOOK_S = 1.0
_CANARY_WAIT_S = 60.0  # a busy edge is late, and a release refused for that would stay refused
_EVENTS = "mvstylizer_releases_total"


class Releases:
    """Changes the version that an edge serves; belongs to its event loop.

    Args:
        server: The running Triton.
        gateway: Holds the pointer.
        supervisor: Sends the canary, and must not take a change for trouble.
        metrics: Where releases are counted.
    """

    def __init__(
        self, server: TritonServer, gateway: Gateway, supervisor: Supervisor, metrics: Metrics
    ) -> None:
        self._server = server
        self._gateway = gateway
        self._supervisor = supervisor
        self._metrics = metrics

    async def promote(self, bundle: Bundle) -> None:
        """Load a bundle beside the version that is served, try it, and serve it from then on.

        The version served before stays loaded; the one before that goes.

        Args:
            bundle: A version that is not loaded.

        Raises:
            BundleError: A file is missing or changed.
            ReleaseError: Other tensors than before, or it does not load, or fails its canary.
        """
        async with self._supervisor.changing:
            try:
                await self._load_beside(bundle)
            except (BundleError, ReleaseError, OSError):
                self._metrics.count(_EVENTS, event="refused")
                raise
            self._metrics.count(_EVENTS, event="promoted")

    def roll_back(self, version: int) -> None:
        """Serve another version that is still loaded; takes effect with the next request.

        Raises:
            ReleaseError: It is not loaded.
        """
        if version not in self._gateway.bundles:
            raise ReleaseError(f"Version {version} is not loaded", "Publish its bundle again")
        self._gateway.version = version
        self._metrics.count(_EVENTS, event="rolled_back")

    async def follow(self, folder: WatchedFolder) -> None:
        """Serve the highest good version among a folder's bundles and the one that is served now.

        Taking the highest one away brings the one below it back. A refused bundle is tried again when a file
        of it changes.

        Args:
            folder: Looked at once a second, until cancelled.
        """
        first = self._gateway.bundles[self._gateway.version]
        while True:
            try:
                bundle, reasons = await asyncio.to_thread(folder.newest, first)
            except OSError as err:  # a folder that is away for a while is no reason to change anything
                _LOG.warning("the folder of releases: %s", err)
                await asyncio.sleep(_LOOK_S)
                continue
            for reason in reasons:
                self._metrics.count(_EVENTS, event="refused")
                _LOG.warning("a bundle is refused: %s", reason)
            if bundle.version == self._gateway.version:
                await asyncio.sleep(_LOOK_S)
                continue
            try:
                await self._change_to(bundle)
            except (MVStylizerError, OSError) as err:
                folder.refuse(bundle)
                _LOG.warning("version %d is refused: %s", bundle.version, err)
            else:
                _LOG.warning("serving version %d", bundle.version)

    async def _change_to(self, bundle: Bundle) -> None:
        """Serve a bundle: by the pointer alone where it is still loaded."""
        if bundle.version in self._gateway.bundles:
            self.roll_back(bundle.version)
        else:
            await self.promote(bundle)

    async def _load_beside(self, bundle: Bundle) -> None:
        served = self._gateway.bundles[self._gateway.version]
        _check_contract(bundle, served)
        resident = (served.version, bundle.version)
        before = tuple(sorted(self._gateway.bundles))
        try:
            for spec in self._server.specs(bundle, resident):
                await asyncio.to_thread(write_model, self._server.repository, spec)
            await self._load()
            cause = await self._supervisor.canary(bundle.version, _CANARY_WAIT_S)
            if cause:
                raise ReleaseError(
                    f"The canary of version {bundle.version} came back {cause}", "Export it again"
                )
        except grpc.aio.AioRpcError as err:
            await self._revert(served, before, bundle.version)
            raise ReleaseError(f"Version {bundle.version} does not load", "Export the bundle again") from err
        except BaseException:
            await self._revert(served, before, bundle.version)
            raise
        self._gateway.bundles = {served.version: served, bundle.version: bundle}
        self._gateway.version = bundle.version
        self._server.sources = (served.path, bundle.path)
        self._remove(set(before) - set(resident))

    async def _load(self) -> None:
        upstream = self._gateway.upstream
        if upstream is None:
            raise ReleaseError("Triton is restarting", "Publish the bundle again in a minute")
        for model in MODELS:
            await upstream.load(model, self._server.load_timeout_s)

    async def _revert(self, served: Bundle, resident: tuple[int, ...], version: int) -> None:
        """Put the configs back, and what Triton has loaded with them."""
        for spec in self._server.specs(served, resident):
            write_config(self._server.repository, spec)
        try:
            await self._load()
        except (grpc.aio.AioRpcError, ReleaseError):
            self._supervisor.look()  # a restart serves what was served before
        self._remove({version})

    def _remove(self, versions: Iterable[int]) -> None:
        for version in versions:
            for model in MODELS:
                shutil.rmtree(self._server.repository / model / str(version), ignore_errors=True)


def _check_contract(bundle: Bundle, served: Bundle) -> None:
    """Refuse a bundle whose models take or give other tensors: clients would have to change with it."""
    for role in MODELS:
        ours, theirs = served.spec(role), bundle.spec(role)
        if _kinds(ours.inputs) != _kinds(theirs.inputs) or _kinds(ours.outputs) != _kinds(theirs.outputs):
            raise ReleaseError(
                f"The {role} of version {bundle.version} has other tensors than version {served.version}",
                "Serve it with a `mvstylizer serve` of its own",
            )


def _kinds(tensors: tuple[TensorSpec, ...]) -> set[tuple[str, str, tuple[int, ...]]]:
    return {(tensor.name, tensor.dtype, tensor.shape) for tensor in tensors}
