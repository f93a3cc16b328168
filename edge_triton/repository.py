"""Triton model repository: one generator, two backends, the same tensors.

`python` runs ONNX Runtime inside Triton's python backend (the server in the nvidia-pytriton wheel has no
other); `onnxruntime` is the native backend of the official container. Requests and replies are the same.

Layout, per model: ``<repository>/<name>/config.pbtxt`` and ``<repository>/<name>/<version>/model.onnx``, with
a ``model.py`` beside it for the python backend. A version folder appears whole, by rename; Triton ignores
folders whose name is no number.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from export.manifest import Bundle, TensorSpec

Backend = Literal["python", "onnxruntime"]

STYLE_ENCODER = "style_encoder"
STYLIZER = "stylizer"
MODELS = (STYLE_ENCODER, STYLIZER)
CONFIG_NAME = "config.pbtxt"

MAX_PIXELS = 7680 * 4320
"""Default limit of an image's pixels, before and after upscaling: one 8K frame."""

_TYPES = {"uint8": "TYPE_UINT8", "int32": "TYPE_INT32", "float32": "TYPE_FP32"}
_FILES: dict[Backend, str] = {"python": "model.py", "onnxruntime": "model.onnx"}
# The native backend goes to a GPU when the container has one; the python backend here is CPU only.
_KINDS: dict[Backend, str] = {"python": "KIND_CPU", "onnxruntime": "KIND_AUTO"}
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_MODEL_PY = Path(__file__).parent / "python_backend" / "model.py"


@dataclass(frozen=True)
class ModelSpec:
    """One model version to serve.

    Attributes:
        name: Triton model name.
        onnx: ONNX file, copied into the repository.
        inputs: Input tensors, in order, leading 1 included.
        outputs: Output tensors, in order, leading 1 included.
        version: Model version, from 1.
        resident: Versions that the config serves, all of which must be in the repository; empty = this one.
        backend: Which backend runs it.
        instances: Instances that work side by side.
        threads: ONNX Runtime threads of one instance; 0 = one per core.
        max_pixels: Most pixels of an image, before and after upscaling (python backend).
    """

    name: str
    onnx: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    version: int = 1
    backend: Backend = "python"
    instances: int = 1
    threads: int = 0
    max_pixels: int = MAX_PIXELS
    resident: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for tensor in ("", *self.inputs, *self.outputs):
            name = tensor.name if isinstance(tensor, TensorSpec) else self.name
            if not _NAME.fullmatch(name):
                raise ValueError(f"name {name!r} may have letters, digits, '_', '.' and '-' only")
        if (
            min(self.version, *self.served) < 1
            or self.instances < 1
            or self.threads < 0
            or self.max_pixels < 1
        ):
            raise ValueError(f"version, instances, threads or max_pixels of {self.name!r} is out of range")

    @property
    def served(self) -> tuple[int, ...]:
        """The versions that the config serves."""
        return self.resident or (self.version,)


def bundle_models(
    bundle: Bundle,
    *,
    backend: Backend = "python",
    instances: int = 1,
    threads: int = 0,
    resident: tuple[int, ...] = (),
) -> tuple[ModelSpec, ...]:
    """Return the two models that an edge serves, as a bundle describes them.

    Args:
        bundle: Where the ONNX files and their tensors are described.
        backend: Which backend runs them.
        instances: Stylizer instances; the style encoder runs once per style, so it has one.
        threads: ONNX Runtime threads of one instance; 0 = one per core.
        resident: Versions that the configs serve; empty = the bundle's.

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
        )
        for role in MODELS
    )


def config_text(spec: ModelSpec) -> str:
    """Return the model's ``config.pbtxt``: complete, so that Triton need not guess, and version-pinned.

    ``max_batch_size`` is 0 because the tensors carry their own leading 1: frames of different sizes cannot be
    batched, and on a CPU batching frames costs more than it saves.
    """
    parameters = {"intra_op_thread_count": spec.threads}
    if spec.backend == "python":
        parameters["max_pixels"] = spec.max_pixels
    blocks = [
        f'name: "{spec.name}"',
        f'backend: "{spec.backend}"',
        f'default_model_filename: "{_FILES[spec.backend]}"',
        "max_batch_size: 0",
        # Never `latest`: a broken newest version would keep a restarted server from serving the good one.
        f"version_policy {{ specific {{ versions: [{', '.join(map(str, spec.served))}] }} }}",
        *(_tensor_block("input", tensor) for tensor in spec.inputs),
        *(_tensor_block("output", tensor) for tensor in spec.outputs),
        f"instance_group {{ count: {spec.instances} kind: {_KINDS[spec.backend]} }}",
        *(f'parameters {{ key: "{k}" value {{ string_value: "{v}" }} }}' for k, v in parameters.items()),
    ]
    return "\n".join(blocks) + "\n"


def _tensor_block(side: str, tensor: TensorSpec) -> str:
    dims = ", ".join(str(d) for d in tensor.shape)
    return f'{side} {{ name: "{tensor.name}" data_type: {_TYPES[tensor.dtype]} dims: [{dims}] }}'


def write_model(repository: Path, spec: ModelSpec) -> Path:
    """Write one model version and the config that pins it.

    An existing folder of the same version is replaced; give a served model a new version instead.

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
    """Write a model's config alone: which versions are served, and how."""
    part = repository / spec.name / f"{CONFIG_NAME}.part"
    part.write_text(config_text(spec))
    part.replace(part.with_name(CONFIG_NAME))


def write_repository(
    repository: Path, bundle: Bundle, *, backend: Backend = "python", instances: int = 1, threads: int = 0
) -> tuple[str, ...]:
    """Write a bundle's models into a repository folder, which is made when missing.

    Args:
        repository: Triton's ``--model-repository``.
        bundle: What to serve.
        backend: Which backend runs it.
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
