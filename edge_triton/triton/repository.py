"""Triton model repository: one generator, two backends, the same tensors.

`python` runs ONNX Runtime inside Triton's python backend, the only one in the nvidia-pytriton wheel;
`onnxruntime` is the native backend of the official container. Requests and responses are the same.

Layout, per model: ``<repository>/<name>/config.pbtxt`` (see `model_config`) and
``<repository>/<name>/<version>/model.onnx``, with a ``model.py`` next to it for the python backend. A version
folder appears atomically, by rename; Triton ignores folders whose name is not a number.
"""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

from edge_triton.triton.model_config import WARM_UP_FILE, config_text
from edge_triton.triton.model_spec import Backend, ModelSpec, TensorRt
from mvstylizer.bundle import Bundle

STYLE_ENCODER = "style_encoder"
STYLIZER = "stylizer"
MODELS = (STYLE_ENCODER, STYLIZER)
CONFIG_NAME = "config.pbtxt"

_MODEL_PY = Path(__file__).parent / "python_backend" / "model.py"


def bundle_models(
    bundle: Bundle,
    *,
    backend: Backend = "python",
    instances: int = 1,
    threads: int = 0,
    resident: tuple[int, ...] = (),
    warm_up: tuple[tuple[int, int], ...] = (),
    tensorrt: TensorRt | None = None,
) -> tuple[ModelSpec, ...]:
    """Return the two models that an edge serves from a bundle.

    Args:
        bundle: The bundle.
        backend: Backend that runs them.
        instances: Stylizer instances; the style encoder, which runs once per style, has one.
        threads: ONNX Runtime threads of one instance; 0 = one per core.
        resident: Versions that the configs serve; empty = the bundle's.
        warm_up: (height, width) of images that an instance stylizes before it is ready.
        tensorrt: Use TensorRT (onnxruntime backend on a GPU).

    Raises:
        BundleError: A model is missing or differs from the manifest.
    """
    return tuple(
        ModelSpec(
            role,
            bundle.file(role),
            bundle.spec(role).inputs,
            bundle.spec(role).outputs,
            version=bundle.version,
            backend=backend,
            instances=instances if role == STYLIZER else 1,
            threads=threads,
            resident=resident,
            warm_up=warm_up,
            tensorrt=tensorrt,
        )
        for role in MODELS
    )


def write_model(repository: Path, spec: ModelSpec) -> Path:
    """Write one model version, and the config that serves it.

    Replaces a folder of the same version; a model that is being served needs a new version instead.

    Returns:
        The version's folder.
    """
    model = repository / spec.name
    part = model / f".{spec.version}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    shutil.copyfile(spec.onnx, part / "model.onnx")
    if spec.backend == "python":
        shutil.copyfile(_MODEL_PY, part / "model.py")
    version = model / str(spec.version)
    shutil.rmtree(version, ignore_errors=True)
    part.replace(version)
    write_config(repository, spec)
    return version


def write_config(repository: Path, spec: ModelSpec) -> None:
    """Write only a model's config: which versions are served, and how."""
    if spec.warm_up:
        samples = repository / spec.name / "warmup"
        samples.mkdir(exist_ok=True)
        (samples / WARM_UP_FILE).write_bytes(struct.pack("<f", 1.0))
    part = repository / spec.name / f"{CONFIG_NAME}.part"
    part.write_text(config_text(spec))
    part.replace(part.with_name(CONFIG_NAME))


def write_repository(
    repository: Path, bundle: Bundle, *, backend: Backend = "python", instances: int = 1, threads: int = 0
) -> tuple[str, ...]:
    """Write a bundle's models into a repository folder, which is created if missing.

    Args:
        repository: Triton's ``--model-repository``.
        bundle: The bundle to serve.
        backend: Backend that runs it.
        instances: Stylizer instances.
        threads: ONNX Runtime threads of one instance; 0 = one per core.

    Returns:
        The models' names.

    Raises:
        BundleError: A model is missing or differs from the manifest.
    """
    specs = bundle_models(bundle, backend=backend, instances=instances, threads=threads)
    for spec in specs:
        write_model(repository, spec)
    return tuple(spec.name for spec in specs)


def repository_models(repository: Path) -> tuple[str, ...]:
    """Return the names of the models in a repository folder, sorted."""
    return tuple(sorted(config.parent.name for config in repository.glob(f"*/{CONFIG_NAME}")))
