"""Bundles to release, and traffic that notes which version answers."""

from __future__ import annotations

import json
import shutil
import threading
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton

from mvstylizer.bundle import Bundle, file_spec, load_bundle, write_manifest

GRAY = np.full((32, 32, 3), 100, np.uint8)
CODE = np.array([0.2, 0.5, 0.8], np.float32)


def publish(bundle: Bundle, folder: Path, version: int) -> Bundle:
    """Write the bundle as another version, under a temporary name that is then renamed."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.copytree(bundle.path, part)
    write_manifest(replace(load_bundle(part), version=version))
    part.rename(folder)
    return load_bundle(folder)


def corrupt(bundle: Bundle, content: bytes) -> Bundle:
    """Replace the stylizer's content, with a manifest that matches."""
    (bundle.path / "stylizer.onnx").write_bytes(content)
    specs = [file_spec(bundle.path, s.role, s.path, s.inputs, s.outputs) for s in bundle.files]
    write_manifest(replace(bundle, files=tuple(specs)))
    return load_bundle(bundle.path)


class SteadyTraffic:
    """Clients that send requests without pause, never retry, and record which version answered."""

    def __init__(self, address: str, clients: int = 2) -> None:
        self.address = address
        self.versions: list[int] = []
        self.failures: list[Exception] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def __enter__(self) -> SteadyTraffic:
        for thread in self._threads:
            thread.start()
        self.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()
        self._over.set()
        for thread in self._threads:
            thread.join()

    def wait(self, more: int = 10) -> None:
        target = len(self.versions) + more
        while len(self.versions) < target and not self.failures:
            time.sleep(0.01)

    def _run(self) -> None:
        with triton.InferenceServerClient(self.address) as client:
            while not self._over.is_set() and not self.failures:
                try:
                    self.versions.append(served_version(client))
                except Exception as err:
                    self.failures.append(err)


def served_version(client: triton.InferenceServerClient) -> int:
    """Stylize, and return the version that answered."""
    tensors = []
    for name, kind, value in (
        ("frame", "UINT8", GRAY[None]),
        ("style_code", "FP32", CODE[None]),
        ("r", "FP32", np.ones(1, np.float32)),
    ):
        tensors.append(triton.InferInput(name, list(value.shape), kind))
        tensors[-1].set_data_from_numpy(value)
    result = client.infer("stylizer", tensors, client_timeout=120)
    np.testing.assert_array_equal(result.as_numpy("stylized")[0, 0, 0], np.rint(50 + CODE * 127.5))
    return int(result.get_response().model_version)


def facts(running: Any) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"http://{running.edge.health_address}/healthz", timeout=60) as reply:
            return dict(json.loads(reply.read()))
    except urllib.error.HTTPError as err:
        return dict(json.loads(err.read()))
