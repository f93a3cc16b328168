"""The real adb client with a private server, and emulated phones."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest

from device_runtime.bench.adb import Adb, Phone
from device_runtime.pack.pack import Pack
from tests.device_runtime.bench.adb_daemon import EmulatedPhone
from tests.device_runtime.bench.android import make_pixel_2, make_stand_in

Connect = Callable[..., EmulatedPhone]


@pytest.fixture(scope="session")
def adb_program() -> str:
    """The adb binary inside adbutils' wheel; the package itself is not imported."""
    spec = find_spec("adbutils")
    assert spec, "run `make test`, which installs adbutils"
    assert spec.origin
    return str(Path(spec.origin).parent / "binaries" / "adb")


@pytest.fixture(scope="session")
def adb(adb_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adb]:
    """A client whose server has a private port and a private key folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ADB_SERVER_SOCKET", "ANDROID_SERIAL", "ANDROID_ADB_SERVER_ADDRESS", "ADB_TRACE"):
            patch.delenv(name, raising=False)
        patch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
        patch.setenv("ADB", adb_program)
        # HOME holds the server's key. libusb's first scan takes seconds.
        home = {"HOME": str(tmp_path_factory.mktemp("home")), "ADB_LIBUSB": "0"}
        subprocess.run(
            [adb_program, "start-server"], env={**os.environ, **home}, capture_output=True, check=True
        )
        try:
            yield Adb(adb_program)
        finally:
            subprocess.run([adb_program, "kill-server"], capture_output=True, check=False)


@pytest.fixture
def connect(adb: Adb, tmp_path: Path) -> Iterator[Connect]:
    """Create and connect emulated phones for one test."""
    with ExitStack() as stack:

        def connected(name: str = "phone", **options: bool) -> EmulatedPhone:
            root = tmp_path / name
            (root / "data/local/tmp").mkdir(parents=True)
            emulated = stack.enter_context(EmulatedPhone(root, **options))
            adb.call(["connect", emulated.serial], 20)
            stack.callback(adb.call, ["disconnect", emulated.serial], 20)
            return emulated

        yield connected


@pytest.fixture
def emulated(connect: Connect) -> EmulatedPhone:
    return connect()


@pytest.fixture
def phone(adb: Adb, emulated: EmulatedPhone) -> Phone:
    return adb.phone(emulated.serial)


@pytest.fixture(autouse=True)
def _adb_is_not_inherited(adb: Adb) -> None:
    """Keep the tests of this folder away from other adb servers."""
    assert os.environ["ANDROID_ADB_SERVER_PORT"] != "5037"


@pytest.fixture
def pixel(emulated: EmulatedPhone) -> EmulatedPhone:
    """An emulated Pixel 2 that can run the fake benchmark_model."""
    make_pixel_2(emulated.root)
    return emulated


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_stand_in(tmp_path_factory.mktemp("bin") / "benchmark_model")


@pytest.fixture(scope="session")
def litert_stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_stand_in(tmp_path_factory.mktemp("litert") / "benchmark_model", "litert")


@pytest.fixture
def host_pack(tmp_path: Path) -> Pack:
    """A pack whose Python is this machine's: everything but the processor is as on a phone."""
    folder = tmp_path / "pack"
    folder.mkdir()
    root = Path(__file__).parents[3]
    (folder / "python").write_text(f'#!/bin/sh\nPYTHONPATH={root} exec {sys.executable} "$@"\n')
    pack = Pack(folder, "0", "ab" * 32, 1000, 1, 1 << 14, "")
    (folder / "pack.json").write_text(json.dumps({**pack.as_dict(), "path": ""}))
    return pack
