"""The bundle's manifest, ``model.json``: what each file is, what goes in and out, and its hash.

A bundle is a folder that travels from `export` to the edge and to the phone. This module is all that those
two read of `export`, so it uses the standard library only. A file whose hash differs from the manifest is
refused: a half-copied or edited model must not run. The manifest carries its own hash too, over its bytes
with that hash written as zeros. ``model.schema.json`` beside this module describes it as JSON Schema.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mvstylizer.errors import MVStylizerError

SCHEMA = "mvstylizer.bundle/2"
UNSEALED_SCHEMA = "mvstylizer.bundle/1"  # of the first releases, which had no hash of the manifest itself
MANIFEST_NAME = "model.json"
MAIN = "mvstylizer"
ROLES = ("style_encoder", "stylizer", "warp", "transfer", "key_frame")
"""What every bundle has; `export.exporter` adds more."""
LITE_ROLES = ("style_encoder_tflite", "stylizer_map_tflite")
"""The network as TFLite, which a bundle of the lite variant has beside the ONNX files."""
DTYPES = ("uint8", "int32", "float32")


class BundleError(MVStylizerError):
    """A bundle is missing, unreadable, incomplete or not what its manifest says."""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a model file.

    Attributes:
        name: Tensor name, as the runtime knows it.
        dtype: ``uint8``, ``int32`` or ``float32``.
        shape: Dimensions; -1 is dynamic.
        layout: Axes in words, for example ``NHWC RGB``.
        range: Value range in words, for example ``0..255``.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    layout: str = ""
    range: str = ""


@dataclass(frozen=True)
class FileSpec:
    """One file of a bundle.

    Attributes:
        role: What it is for; one file has it.
        path: File name in the bundle's folder.
        format: ``onnx``, ``tflite``, ``npz`` or ``md``.
        sha256: Of the file, hexadecimal.
        bytes: Its size.
        inputs: Tensors it takes; none where it is no model.
        outputs: Tensors it gives.
        parity: How far it is from its reference: ``max``, ``mean``, ``p999``, ``psnr``, ``cases``, ``lanes``.
        cost: ``parameters``, and ``macs`` (multiply-accumulates) of one run at the size that it names.
        latency: ``median_ms`` of one run, with size, threads and number of runs.
        delegates: Operators that each delegate would reject (`export.runtimes.delegate_lint`); empty = none.
    """

    role: str
    path: str
    format: str
    sha256: str
    bytes: int
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    parity: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)
    latency: dict[str, Any] = field(default_factory=dict)
    delegates: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Bundle:
    """A loaded manifest.

    Attributes:
        path: The bundle's folder.
        name: Model variant, for example ``mvstylizer``.
        version: Release number, from 1; Triton's model version.
        files: One entry per file.
        source: Checkpoint name, its sha256 and training step.
        network: Sizes that callers may need (network pixels, map cell, style code length).
        tools: Versions of the converters.
        machine: Where it was exported: what its latency figures were measured on.
    """

    path: Path
    name: str
    version: int
    files: tuple[FileSpec, ...]
    source: dict[str, Any] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)

    def spec(self, role: str) -> FileSpec:
        """Return the entry of `role`.

        Raises:
            BundleError: The bundle has no such file.
        """
        for spec in self.files:
            if spec.role == role:
                return spec
        raise BundleError(
            f"Bundle {self.path} has no {role} (it has {', '.join(s.role for s in self.files)})",
            "Export it again with: mvstylizer export CHECKPOINT --out BUNDLE",
        )

    def file(self, role: str) -> Path:
        """Return the path of `role` after checking size and sha256.

        Raises:
            BundleError: The file is missing or differs from the manifest.
        """
        spec = self.spec(role)
        path = self.path / spec.path
        if not path.is_file():
            raise BundleError(f"{path} is missing", "Copy the whole bundle folder again")
        if path.stat().st_size != spec.bytes or sha256_of(path) != spec.sha256:
            raise BundleError(
                f"{path} is not the file that {MANIFEST_NAME} describes (its sha256 differs)",
                "Copy the whole bundle folder again, or export it again",
            )
        return path

    def verify(self) -> None:
        """Check size and sha256 of every file.

        Raises:
            BundleError: A file is missing or differs from the manifest; names the first one.
        """
        for spec in self.files:
            self.file(spec.role)


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_spec(
    folder: Path,
    role: str,
    path: str,
    inputs: tuple[TensorSpec, ...] = (),
    outputs: tuple[TensorSpec, ...] = (),
    **figures: dict[str, Any],
) -> FileSpec:
    """Describe a file that already lies in `folder`: size and hash are read from it.

    Args:
        folder: The bundle's folder.
        role: See `FileSpec`, here and below.
        path: File name.
        inputs: Tensors it takes.
        outputs: Tensors it gives.
        figures: ``parity``, ``cost``, ``latency``, ``delegates``, where there are any.
    """
    whole = folder / path
    return FileSpec(
        role,
        path,
        whole.suffix.lstrip("."),
        sha256_of(whole),
        whole.stat().st_size,
        inputs,
        outputs,
        **figures,
    )


def write_manifest(bundle: Bundle) -> Path:
    """Write ``model.json`` into the bundle's folder, last and whole, and return its path."""
    body = asdict(bundle)
    del body["path"]
    target = bundle.path / MANIFEST_NAME
    part = target.with_suffix(".json.part")
    part.write_bytes(sealed(body))
    part.replace(target)
    return target


def sealed(body: dict[str, Any]) -> bytes:
    """Return a manifest as JSON, with schema and its own sha256 put first."""
    rest = {key: value for key, value in body.items() if key not in ("schema", "sha256")}
    text = json.dumps({"schema": SCHEMA, "sha256": _UNSEALED, **rest}, indent=2) + "\n"
    content = text.encode()
    return content.replace(_UNSEALED.encode(), hashlib.sha256(content).hexdigest().encode(), 1)


def load_bundle(path: Path | str) -> Bundle:
    """Read a bundle's manifest and verify every file.

    Raises:
        BundleError: No manifest, no JSON, another schema, a field that is missing or wrong, or a file (the
            manifest among them) whose hash differs.
    """
    folder = Path(path)
    manifest = folder / MANIFEST_NAME
    if not manifest.is_file():
        raise BundleError(
            f"{folder} is no bundle: it holds no {MANIFEST_NAME}",
            "Name a folder that `mvstylizer export` wrote",
        )
    content = manifest.read_bytes()
    try:
        body = json.loads(content)
    except ValueError as err:
        raise BundleError(f"{manifest} is no JSON: {err}", "Export the bundle again") from err
    _check_seal(manifest, content, body)
    try:
        bundle = _bundle_from(folder, body)
    except (KeyError, TypeError, ValueError) as err:
        raise BundleError(f"{manifest}: {type(err).__name__}: {err}", "Export the bundle again") from err
    bundle.verify()
    return bundle


_UNSEALED = "0" * 64


def _check_seal(manifest: Path, content: bytes, body: Any) -> None:
    found = body.get("schema") if isinstance(body, dict) else type(body).__name__
    if found not in (SCHEMA, UNSEALED_SCHEMA):
        raise BundleError(
            f"{manifest} has schema {found!r}, this version reads {SCHEMA!r}", "Export the bundle again"
        )
    seal = body.get("sha256")
    if found == UNSEALED_SCHEMA and seal is None:
        return
    unsealed = content.replace(str(seal).encode(), _UNSEALED.encode(), 1)
    if seal != hashlib.sha256(unsealed).hexdigest():
        raise BundleError(
            f"{manifest} was changed after the export (its sha256 differs)",
            "Copy the whole bundle folder again, or export it again",
        )


def _bundle_from(folder: Path, body: dict[str, Any]) -> Bundle:
    files = tuple(_file_from(row) for row in body["files"])
    version = body["version"]
    if not isinstance(version, int) or version < 1:
        raise ValueError(f"version {version!r} must be a whole number from 1")
    return Bundle(
        folder,
        str(body["name"]),
        version,
        files,
        dict(body.get("source", {})),
        dict(body.get("network", {})),
        dict(body.get("tools", {})),
        dict(body.get("machine", {})),
    )


def _file_from(row: dict[str, Any]) -> FileSpec:
    if Path(row["path"]).name != row["path"]:
        raise ValueError(f"path {row['path']!r} must be a plain file name")
    tensors = {side: tuple(_tensor_from(t) for t in row[side]) for side in ("inputs", "outputs")}
    return FileSpec(
        row["role"], row["path"], row["format"], row["sha256"], int(row["bytes"]),
        tensors["inputs"], tensors["outputs"],
        **{name: dict(row.get(name, {})) for name in ("parity", "cost", "latency", "delegates")},
    )  # fmt: skip


def _tensor_from(row: dict[str, Any]) -> TensorSpec:
    if row["dtype"] not in DTYPES:
        raise ValueError(f"tensor {row['name']!r} has dtype {row['dtype']!r}, not one of {', '.join(DTYPES)}")
    return TensorSpec(
        row["name"], row["dtype"], tuple(int(d) for d in row["shape"]), row["layout"], row["range"]
    )


def default_bundle(variant: str = MAIN) -> Path:
    """Return the folder of a bundle that ships with the kit.

    The bundles are package data, so a clone, a wheel and ``pip install --target`` all have them.

    Args:
        variant: ``mvstylizer``, or ``lite``, the one for devices; where that does not ship, the main one
            stands in for it.

    Raises:
        BundleError: None is there.
    """
    models = Path(__file__).resolve().parent / "models"
    for name in (variant, MAIN):
        if (models / name / MANIFEST_NAME).is_file():
            return models / name
    raise BundleError(
        f"The shipped model is missing ({models / MAIN})",
        "Install the kit again, or name one with --bundle",
    )
