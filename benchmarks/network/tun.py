"""Two network namespaces with a TUN device each, and a process that forwards packets between them with delay.

Both ends use the kernel's own TCP, including slow start and windows. Requires root, but not netem, which many
kernels are built without. The namespaces are unnamed: they disappear with the sockets in them.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from benchmarks.network.exchange import Exchange, Server, connect, listen
from benchmarks.network.link import Link
from mvstylizer.errors import MVStylizerError

T = TypeVar("T")

_DEVICE: Final = "/dev/net/tun"
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI, _CLONE_NEWNET = 0x400454CA, 0x0001, 0x1000, 0x40000000
_MTU: Final = 1400
_PHONE, _SERVER = "10.78.0.1", "10.78.0.2"


class TunError(MVStylizerError):
    """The kernel refuses a network namespace or a device."""


def missing_requirement() -> str:
    """Return what is missing on this machine, or an empty string."""
    if os.geteuid() != 0:
        return "root privileges"
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        return f"access to {_DEVICE}"
    return "" if shutil.which("ip") else "the ip command"


@contextmanager
def over(link: Link) -> Iterator[Exchange]:
    """Yield an exchange between two namespaces.

    Raises:
        TunError: The kernel refuses a namespace or a device.
    """
    with ExitStack() as stack:
        phone, server = (stack.enter_context(_Namespace(address)) for address in (_PHONE, _SERVER))
        stack.enter_context(_forwarder(link, phone.device, server.device))
        listener = server.do(lambda: listen(_SERVER, link.window))
        stack.callback(Server(listener).close)
        address = (_SERVER, int(listener.getsockname()[1]))
        exchange = Exchange(lambda: phone.do(lambda: connect(address, link.window)))
        stack.callback(exchange.close)
        yield exchange


class _Namespace:
    """A network namespace with one TUN device, and a thread that runs in it."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._jobs: list[tuple[Callable[[], Any], Future[Any]]] = []
        self._wake = threading.Condition()
        self._closed = False
        self.device = -1

    def __enter__(self) -> _Namespace:
        threading.Thread(target=self._run, daemon=True).start()
        self.device = self.do(self._set_up)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.device)
        with self._wake:
            self._closed = True
            self._wake.notify()

    def do(self, job: Callable[[], T]) -> T:
        """Run a job in the namespace and return its result; sockets it opens belong to the namespace."""
        future: Future[T] = Future()
        with self._wake:
            self._jobs.append((job, future))
            self._wake.notify()
        return future.result()

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._jobs or self._closed)
                if not self._jobs:
                    return
                job, future = self._jobs.pop(0)
            try:
                future.set_result(job())
            except BaseException as err:
                future.set_exception(err)

    def _set_up(self) -> int:
        """Enter a new namespace; create and configure its device there."""
        if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
            raise TunError(
                f"Cannot create a network namespace: {os.strerror(ctypes.get_errno())}", "Use --network proxy"
            )
        device = os.open(_DEVICE, os.O_RDWR | os.O_NONBLOCK)
        try:
            fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH", b"emu0", _IFF_TUN | _IFF_NO_PI))
            for command in (
                f"addr add {self._address}/24 dev emu0",
                f"link set emu0 mtu {_MTU} up",
                "link set lo up",
            ):
                subprocess.run(["ip", *command.split()], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as err:
            os.close(device)
            raise TunError(f"Cannot create a TUN device: {err}", "Use --network proxy") from err
        return device


@contextmanager
def _forwarder(link: Link, *devices: int) -> Iterator[None]:
    """Forward packets between two devices in a separate process, which exits when its stdin closes."""
    worker = Path(__file__).with_name("tun_link.py")
    delay, rate = str(link.round_trip_s / 2), str(link.rate)
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(worker), *map(str, devices), delay, rate],
        stdin=subprocess.PIPE,
        pass_fds=devices,
    )
    try:
        yield
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
