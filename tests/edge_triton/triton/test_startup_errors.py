"""Errors from log excerpts of the bundled server of nvidia-pytriton 0.7.0."""

from __future__ import annotations

import pytest

from edge_triton.triton.startup_errors import (
    PortTakenError,
    ServerStartError,
    is_fatal,
    last_line,
    start_error,
)

NOISE = 'E1123 14:22:57.648124 14752 server.cc:241] "CudaDriverHelper has not been initialized."\n'
LIBRARY = NOISE + (
    "/srv/x/backends/python/triton_python_backend_stub: error while loading shared libraries: "
    "libpython3.11.so.1.0: cannot open shared object file: No such file or directory\n"
)
PORT = NOISE + (
    "E1123 14:22:57.927753087   14752 chttp2_server.cc:1060]   UNKNOWN:No address added out of total 1 "
    "resolved for '127.0.0.1:8001' {children:[UNKNOWN:Address already in use {errno:98, syscall:\"bind\"}]}\n"
    'E1123 14:22:57.931506 14752 main.cc:245] "failed to start GRPC service: Unavailable - Socket '
    "'127.0.0.1:8001' already in use \"\n"
)
SHARED_MEMORY = NOISE + (
    'E1123 14:22:57.411467 15351 backend_model.cc:692] "ERROR: Failed to create instance: Unable to '
    "initialize shared memory key 'mvs_9c8c_6a14347f' to requested size (1048576 bytes). If you are running "
    "Triton inside docker, use '--shm-size' flag to control the shared memory region size. Error: No space "
    'left on device"\n'
    "E1123 14:22:57.411512 15351 model_lifecycle.cc:642] \"failed to load 'style_encoder' version 1: ...\"\n"
)
MODEL = NOISE + (
    "E1123 14:23:05.279316 15025 model_lifecycle.cc:642] \"failed to load 'stylizer' version 1: Internal: "
    r"InvalidProtobuf: Protobuf parsing failed.\n\nAt:\n  /x/onnxruntime.py(753): _create"
    '\\n"\n'
)
MODULE = NOISE + (
    "I1123 14:23:05.496352 15117 pb_stub.cc:366]  Failed to initialize Python stub: ModuleNotFoundError: x\n"
    'E1123 14:23:05.805582 15101 backend_model.cc:692] "ERROR: Failed to create instance: '
    "ModuleNotFoundError: No module named 'onnxruntime'\\n\"\n"
)


@pytest.mark.parametrize(
    ("log", "text", "hint"),
    [
        (
            LIBRARY,
            "event: error while loading shared libraries: libpython3.11.so.1.0",
            "apt install libpython3",
        ),
        (SHARED_MEMORY, "Unable to initialize shared memory", "--shm-size=256m"),
        (
            MODEL,
            "'stylizer' version 1: Internal: InvalidProtobuf: Protobuf parsing failed",
            "Export the bundle",
        ),
        (MODULE, "No module named 'onnxruntime'", "serve --install"),
        (NOISE, "The bundled Triton event", "Try again"),
        ("", "The bundled Triton event", "Try again"),
    ],
)
def test_error_names_cause_and_remedy(log: str, text: str, hint: str) -> None:
    error = start_error("event", log)
    assert type(error) is ServerStartError
    assert text in error.message
    assert hint in error.hint
    assert "\n" not in str(error)
    assert "/x/" not in str(error)


def test_taken_port_has_its_own_class() -> None:
    error = start_error("event", PORT)
    assert isinstance(error, PortTakenError)
    assert error.message.endswith("Socket '127.0.0.1:8001' already in use")


@pytest.mark.parametrize(
    ("log", "fatal"), [(LIBRARY, 1), (PORT, 1), (MODEL, 1), (SHARED_MEMORY, 1), (NOISE, 0)]
)
def test_waiting_ends_once_the_cause_is_known(log: str, fatal: int) -> None:
    assert is_fatal(log) == bool(fatal)


def test_last_line_skips_noise_and_is_short() -> None:
    assert last_line(f'E1123 14:23:05.1 7 a.cc:1] "the cause"\n{NOISE}\n| table |\n') == "the cause"
    assert last_line(NOISE) == ""
    assert len(last_line("x" * 10_000)) < 300
