"""Fake adb daemon: speaks the transport protocol to the real adb client and uses a folder as its phone.

Wire format from AOSP's protocol.txt, SERVICES.TXT and SYNC.TXT: messages of six little-endian words and a
payload; streams for ``shell,v2,raw:``, ``sync:`` and ``reverse:``. The ``sh`` of this machine runs the
commands, with their paths (/data, /sys, /proc/cpuinfo) mapped into the folder and its ``system/bin`` first on
PATH.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import struct
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

CNXN, AUTH, OPEN, OKAY, WRTE, CLSE = (
    int.from_bytes(name, "little") for name in (b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"WRTE", b"CLSE")
)
VERSION, MAX_PAYLOAD = 0x01000001, 1 << 20  # from this version on payloads carry no checksum
TOKEN = 1
STDOUT, STDERR, EXIT = 1, 2, 3
MAPPED = re.compile(r"(?<![\w/])/(data|sys|proc)/")


class EmulatedPhone:
    """A phone whose storage is `root`; a context manager that listens on a free port of 127.0.0.1.

    Args:
        root: Folder used as ``/``.
        authorized: Whether it accepts the computer's key.
        shell_v2: Whether its shell reports exit codes.
    """

    def __init__(self, root: Path, *, authorized: bool = True, shell_v2: bool = True) -> None:
        self.root = root
        self.authorized = authorized
        self.features = "shell_v2,cmd,stat_v2,ls_v2" if shell_v2 else "cmd"
        self.commands: list[str] = []
        self.pushed: list[str] = []
        self.free_bytes: int | None = None
        self.dies_at: str | None = None  # disappears under the first command that contains this
        self.keeps_orphans = False  # as Android: a command runs on when its client is gone
        self.allows_reverse = True
        self.reversed: dict[int, asyncio.Server] = {}
        self._connections: dict[asyncio.StreamWriter, asyncio.Task[Any] | None] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self.serial = ""

    def __enter__(self) -> EmulatedPhone:
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._connected, "127.0.0.1", 0))
        assert self._server
        self.serial = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def path(self, on_phone: str) -> Path:
        return self.root / on_phone.lstrip("/")

    async def disappear(self) -> None:
        """Unplug it: drop all connections and accept no new ones."""
        for server in filter(None, [self._server, *self.reversed.values()]):
            server.close()
        for writer in list(self._connections):
            writer.transport.abort()

    async def _stop(self) -> None:
        handlers = [task for task in self._connections.values() if task]
        await self.disappear()
        await asyncio.gather(*handlers, return_exceptions=True)

    def _do(self, job: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(job, self._loop).result(timeout=20)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections[writer] = asyncio.current_task()
        try:
            await _Connection(self, reader, writer).run()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client is gone
        finally:
            del self._connections[writer]
            writer.close()


class _Stream:
    """One OPENed service: bytes in, bytes out, each WRTE waits for its OKAY."""

    def __init__(self, connection: _Connection, local: int, remote: int) -> None:
        self.connection, self.local, self.remote = connection, local, remote
        self.incoming: asyncio.Queue[bytes] = asyncio.Queue()
        self.acknowledged = asyncio.Semaphore(0)
        self.closed = False
        self.opened = asyncio.Event()
        self._buffer = b""

    async def write(self, data: bytes) -> None:
        for start in range(0, len(data), self.connection.max_payload):
            part = data[start : start + self.connection.max_payload]
            self.connection.send(WRTE, self.local, self.remote, part)
            await self.acknowledged.acquire()

    async def read(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._buffer += await self.incoming.get()
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    async def words(self, form: str) -> tuple[Any, ...]:
        return struct.unpack(f"<{form}", await self.read(struct.calcsize(f"<{form}")))

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.connection.send(CLSE, self.local, self.remote)


class _Connection:
    def __init__(
        self, phone: EmulatedPhone, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.phone, self.reader, self.writer = phone, reader, writer
        self.max_payload = 4096
        self.streams: dict[int, _Stream] = {}
        self.tasks: dict[int, asyncio.Task[None]] = {}

    def send(self, command: int, first: int, second: int, data: bytes = b"") -> None:
        head = struct.pack("<6I", command, first, second, len(data), 0, command ^ 0xFFFFFFFF)
        self.writer.write(head + data)

    async def run(self) -> None:
        try:
            while True:
                await self._take_message()
        finally:
            for task in self.tasks.values():
                task.cancel()
            await asyncio.gather(*self.tasks.values(), return_exceptions=True)

    async def _take_message(self) -> None:
        head = struct.unpack("<6I", await self.reader.readexactly(24))
        command, first, second, length = head[:4]
        data = await self.reader.readexactly(length)
        if command == CNXN:
            self.max_payload = min(second, MAX_PAYLOAD)
            self._greet()
        elif command == AUTH:
            # A signature or a public key: the user never answers the prompt.
            self.send(AUTH, TOKEN, 0, bytes(20))
        elif command == OPEN:
            self._open(first, data.rstrip(b"\0").decode())
        elif stream := self.streams.get(second):
            self._to_stream(stream, command, data, first)
        await self.writer.drain()

    def _greet(self) -> None:
        if not self.phone.authorized:
            self.send(AUTH, TOKEN, 0, bytes(20))
            return
        names = "ro.product.name=walleye;ro.product.model=Pixel 2;ro.product.device=walleye;"
        self.send(CNXN, VERSION, MAX_PAYLOAD, f"device::{names}features={self.phone.features}".encode())

    def _open(self, remote: int, service: str) -> None:
        stream = _Stream(self, len(self.streams) + 1, remote)
        self.streams[stream.local] = stream
        self.send(OKAY, stream.local, remote)
        self.tasks[stream.local] = asyncio.get_running_loop().create_task(self._serve(stream, service))

    def _to_stream(self, stream: _Stream, command: int, data: bytes, remote: int) -> None:
        if command == OKAY and not stream.remote:  # the computer takes a stream that the phone opened
            stream.remote = remote
            stream.opened.set()
        elif command == OKAY:
            stream.acknowledged.release()
        elif command == WRTE:
            stream.incoming.put_nowait(data)
            self.send(OKAY, stream.local, stream.remote)
        elif command == CLSE:
            stream.close()
            stream.opened.set()
            stream.incoming.put_nowait(b"")
            if task := self.tasks.get(stream.local):
                task.cancel()

    async def _serve(self, stream: _Stream, service: str) -> None:
        head, _, command = service.partition(":")
        if head.split(",")[0] == "shell":
            await _shell(self.phone, stream, command)
        elif service == "sync:":
            await _sync(self.phone, stream)
        elif head == "reverse":
            await self._reverse(stream, command)
        stream.close()

    async def _reverse(self, stream: _Stream, request: str) -> None:
        """``forward:tcp:THERE;tcp:HERE`` or ``killforward:tcp:THERE``; port 0 is any free one."""
        what, _, ports = request.partition(":")
        there, _, here = ports.removeprefix("norebind:").partition(";")
        port = int(there.removeprefix("tcp:"))
        if not self.phone.allows_reverse:
            return await _fail_reverse(stream, "reverse forwarding is disabled")
        if what == "killforward":
            self.phone.reversed.pop(port).close()
            return await stream.write(b"OKAY")

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._forward(here, reader, writer)

        server = await asyncio.start_server(connected, "127.0.0.1", port)
        chosen = server.sockets[0].getsockname()[1]
        self.phone.reversed[chosen] = server
        number = str(chosen).encode()
        await stream.write(b"OKAY" + (b"%04x" % len(number) + number if not port else b""))
        return None

    async def _forward(
        self, service: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Carry a connection that a program on the phone made to the computer."""
        stream = _Stream(self, len(self.streams) + 1, 0)
        self.streams[stream.local] = stream
        self.send(OPEN, stream.local, 0, service.encode() + b"\0")
        await stream.opened.wait()

        async def to_phone() -> None:
            while not stream.closed and (data := await stream.incoming.get()):
                writer.write(data)
                await writer.drain()

        async def to_computer() -> None:
            while not stream.closed and (data := await reader.read(1 << 16)):
                await stream.write(data)

        both = [asyncio.create_task(to_phone()), asyncio.create_task(to_computer())]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            stream.close()
            writer.close()


async def _shell(phone: EmulatedPhone, stream: _Stream, command: str) -> None:
    phone.commands.append(command)
    if phone.dies_at and phone.dies_at in command:
        await phone.disappear()
        return
    process = await asyncio.create_subprocess_exec(
        "sh",
        "-c",
        MAPPED.sub(lambda found: f"{phone.root}{found[0]}", command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=phone.root,
        start_new_session=True,
        env={**os.environ, "PHONE": str(phone.root), "PATH": f"{phone.root}/system/bin:{os.environ['PATH']}"},
    )

    async def pump(pipe: asyncio.StreamReader | None, channel: int) -> None:
        assert pipe
        while data := await pipe.read(1 << 16):
            data = data.replace(str(phone.root).encode(), b"")
            await stream.write(struct.pack("<BI", channel, len(data)) + data)

    try:
        await asyncio.gather(pump(process.stdout, STDOUT), pump(process.stderr, STDERR))
    finally:  # a client that is gone takes its commands along
        with contextlib.suppress(ProcessLookupError):
            if phone.keeps_orphans and process.returncode is None:
                await asyncio.shield(process.wait())
            os.killpg(process.pid, signal.SIGKILL)
    await stream.write(struct.pack("<BIB", EXIT, 1, await process.wait() & 0xFF))


async def _sync(phone: EmulatedPhone, stream: _Stream) -> None:
    while True:
        request, length = await stream.words("4sI")
        if request == b"QUIT":
            return
        name = (await stream.read(length)).decode()
        if request in (b"STA2", b"LST2"):
            await stream.write(request + _stat_2(phone.path(name)))
        elif request == b"STAT":
            await stream.write(b"STAT" + _stat_1(phone.path(name)))
        elif request == b"SEND":
            await _receive_file(phone, stream, name)
        elif request == b"RECV":
            await _send_file(phone.path(name), stream)
        else:
            await _fail(stream, f"unknown request {request!r}")


def _stat_1(path: Path) -> bytes:
    if not path.exists():
        return struct.pack("<3I", 0, 0, 0)
    found = path.stat()
    return struct.pack("<3I", found.st_mode, found.st_size & 0xFFFFFFFF, int(found.st_mtime))


def _stat_2(path: Path) -> bytes:
    if not path.exists():
        return struct.pack("<IQQIIIIQqqq", 2, *[0] * 10)
    found = path.stat()
    return struct.pack(
        "<IQQIIIIQqqq",
        0,
        found.st_dev,
        found.st_ino,
        found.st_mode,
        found.st_nlink,
        found.st_uid,
        found.st_gid,
        found.st_size,
        int(found.st_atime),
        int(found.st_mtime),
        int(found.st_ctime),
    )


async def _receive_file(phone: EmulatedPhone, stream: _Stream, target: str) -> None:
    name, _, mode = target.rpartition(",")
    content = bytearray()
    while True:
        kind, length = await stream.words("4sI")
        if kind == b"DONE":
            break
        content += await stream.read(length)
    if phone.free_bytes is not None and len(content) > phone.free_bytes:
        await _fail(stream, "write failed: No space left on device")
        return
    path = phone.path(name)
    path.write_bytes(content)
    path.chmod(int(mode) & 0o777)
    phone.pushed.append(name)
    await stream.write(b"OKAY" + struct.pack("<I", 0))


async def _send_file(path: Path, stream: _Stream) -> None:
    if not path.is_file():
        await _fail(stream, "No such file or directory")
        return
    content = path.read_bytes()
    for start in range(0, len(content), 1 << 16):
        part = content[start : start + (1 << 16)]
        await stream.write(b"DATA" + struct.pack("<I", len(part)) + part)
    await stream.write(b"DONE" + struct.pack("<I", 0))


async def _fail_reverse(stream: _Stream, message: str) -> None:
    await stream.write(b"FAIL%04x" % len(message) + message.encode())


async def _fail(stream: _Stream, message: str) -> None:
    await stream.write(b"FAIL" + struct.pack("<I", len(message)) + message.encode())
