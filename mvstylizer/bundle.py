"""The bundle's manifest, ``model.json``: role, tensors, hash and figures of each file.

A bundle is the folder that `export` writes, and that edge and phone read through this module alone; it uses
only the standard library. A file whose hash differs from the manifest is refused, so that an incomplete or
edited model never runs. The manifest contains its own hash too, computed with zeros in its place.
``model.schema.json`` describes the manifest as JSON Schema.

Example:
    >>> from mvstylizer.bundle import default_bundle, load_bundle
    >>> bundle = load_bundle(default_bundle())
    >>> bundle.name
    'mvstylizer'
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mvstylizer.errors import MVStylizerError

SCHEMA = "mvstylizer.bundle/3"
MANIFEST_NAME = "model.json"
MAIN = "mvstylizer"
ROLES = ("style_encoder", "stylizer", "warp", "transfer", "key_frame")
"""Roles that every bundle has; most bundles have more."""
LITE_ROLES = ("style_encoder_tflite", "look_tflite")
"""The network as TFLite, in addition to ONNX, in bundles of the lite variant."""
DTYPES = ("uint8", "int32", "float32")
MAX_MANIFEST_BYTES = 4 << 20


class BundleError(MVStylizerError):
    """A bundle is missing, unreadable, incomplete, changed, or has another schema."""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a model file.

    Attributes:
        name: Name in the file.
        dtype: ``uint8``, ``int32`` or ``float32``.
        shape: Dimensions; -1 is dynamic.
        layout: Meaning of the axes, for example ``NHWC RGB``.
        range: Range of the values, for example ``0..255``.
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
        role: Purpose of the file, unique in the bundle.
        path: File name in the bundle's folder.
        format: ``onnx``, ``tflite``, ``npz`` or ``md``.
        sha256: Hash of the file, hexadecimal.
        bytes: Size of the file.
        inputs: Input tensors; empty if the file is not a model.
        outputs: Output tensors.
        parity: Difference from the reference: ``max``, ``mean``, ``p999``, ``psnr``, ``cases``, ``lanes``.
        cost: ``parameters``, and ``macs`` (multiply-accumulates) of one run at ``macs_size``.
        latency: ``median_ms`` of one run, with ``size``, ``threads`` and ``runs``.
        delegates: What each delegate would reject (`export.runtimes.delegate_lint`); an empty list means
            that it accepts the file.
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
        version: Release number, from 1; also Triton's model version.
        files: One row per file.
        source: Name, sha256 and training step of the checkpoint.
        network: Dimensions of the network, among them pixel budgets, map cell and style code length.
        tools: Versions of the converters.
        machine: The machine that exported the bundle and measured its latency.
    """

    path: Path
    name: str
    version: int
    files: tuple[FileSpec, ...]
    source: dict[str, Any] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """What the stylizer predicts: ``image``, ``affine``, ``grid`` or ``lut``."""
        return str(self.network.get("kind", "grid"))

    @property
    def has_match(self) -> bool:
        """Whether a style code begins with the match (`mvstylizer.stylizer.Match`)."""
        return bool(self.network.get("match", True))

    def spec(self, role: str) -> FileSpec:
        """Return the row of `role`.

        Raises:
            BundleError: The bundle has no file with that role.
        """
        for spec in self.files:
            if spec.role == role:
                return spec
        raise BundleError(
            f"Bundle {self.path} has no {role}; it has {', '.join(s.role for s in self.files)}",
            "Export it again with: mvstylizer export CHECKPOINT --out BUNDLE",
        )

    def file(self, role: str) -> Path:
        """Return the path of `role` after checking the file's size and sha256.

        Raises:
            BundleError: The file is missing or differs from the manifest.
        """
        spec = self.spec(role)
        path = self.path / spec.path
        if not path.is_file():
            raise BundleError(f"{path} is missing", "Copy the whole bundle folder again")
        if path.stat().st_size != spec.bytes or sha256_of(path) != spec.sha256:
            raise BundleError(
                f"{path} is not the file that {MANIFEST_NAME} describes: its sha256 differs",
                "Copy the whole bundle folder again, or export it again",
            )
        return path

    def verify(self) -> None:
        """Check size and sha256 of every file.

        Raises:
            BundleError: A file is missing or differs from the manifest; names the first such file.
        """
        for spec in self.files:
            self.file(spec.role)


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
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
    """Describe an existing file of a bundle; its size and hash are computed.

    Args:
        folder: The bundle's folder.
        role: See `FileSpec`.
        path: File name.
        inputs: Input tensors.
        outputs: Output tensors.
        figures: Any of ``parity``, ``cost``, ``latency``, ``delegates``.
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
    """Write ``model.json`` into the bundle's folder, atomically, and return its path."""
    body = asdict(bundle)
    del body["path"]
    target = bundle.path / MANIFEST_NAME
    part = target.with_suffix(".json.part")
    part.write_bytes(sealed(body))
    part.replace(target)
    return target


def sealed(body: dict[str, Any]) -> bytes:
    """Return a manifest as JSON; schema and its own sha256 come first."""
    rest = {key: value for key, value in body.items() if key not in ("schema", "sha256")}
    text = json.dumps({"schema": SCHEMA, "sha256": _UNSEALED, **rest}, indent=2) + "\n"
    content = text.encode()
    return content.replace(_UNSEALED.encode(), hashlib.sha256(content).hexdigest().encode(), 1)


def load_bundle(path: Path | str) -> Bundle:
    """Read a bundle's manifest and verify every file.

    Raises:
        BundleError: See `read_manifest`; or a file is missing, or its hash differs.
    """
    bundle = read_manifest(Path(path))
    bundle.verify()
    return bundle


def read_manifest(folder: Path) -> Bundle:
    """Read a bundle's manifest without its files.

    Raises:
        BundleError: The manifest is missing, not JSON, of another schema, has a wrong field, or its own hash
            differs.
    """
    manifest = folder / MANIFEST_NAME
    if not manifest.is_file():
        raise BundleError(
            f"{folder} is not a bundle: it has no {MANIFEST_NAME}",
            "Name a folder written by `mvstylizer export`",
        )
    if manifest.stat().st_size > MAX_MANIFEST_BYTES:
        raise BundleError(f"{manifest} is too large for a manifest", "Export the bundle again")
    content = manifest.read_bytes()
    try:
        body = json.loads(content, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as err:
        raise BundleError(f"{manifest} is not JSON: {err}", "Export the bundle again") from err
    _check_schema(manifest, body)
    _check_seal(manifest, content, body)
    try:
        return _bundle_from(folder, body)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as err:
        raise BundleError(f"{manifest}: {type(err).__name__}: {err}", "Export the bundle again") from err


_UNSEALED = "0" * 64
_MAX_INTEGER = 2**53


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text)


def _text(value: Any) -> str:
    """Return a string that can be written to a file.

    Raises:
        TypeError: Not a string.
        ValueError: It contains half a surrogate pair or a control character.
    """
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    value.encode()
    if not value.isprintable():
        raise ValueError(f"{value!r} contains a control character")
    return value


def _integer(value: Any, lowest: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= _MAX_INTEGER:
        raise ValueError(f"{str(value)[:40]!r} must be a whole number from {lowest}")
    return value


def _check_schema(manifest: Path, body: Any) -> None:
    found = ascii(body.get("schema") if isinstance(body, dict) else None)[:60].strip("'")
    if found == SCHEMA:
        return
    family, current = SCHEMA.split("/")
    prefix, _, number = str(found).rpartition("/")
    if prefix != family or not number.isdecimal():
        raise BundleError(
            f"{manifest} is not the manifest of a bundle (schema {found})",
            "Name a folder written by `mvstylizer export`",
        )
    newer = int(number) > int(current)
    raise BundleError(
        f"{manifest} has bundle schema {number}; this version of mvstylizer reads {current}",
        "Update mvstylizer, or export the checkpoint again" if newer else "Export the checkpoint again",
    )


def _check_seal(manifest: Path, content: bytes, body: dict[str, Any]) -> None:
    seal = body.get("sha256")
    unsealed = content.replace(str(seal).encode(), _UNSEALED.encode(), 1)
    if seal != hashlib.sha256(unsealed).hexdigest():
        raise BundleError(
            f"{manifest} was changed after the export: its sha256 differs",
            "Copy the whole bundle folder again, or export it again",
        )


def _bundle_from(folder: Path, body: dict[str, Any]) -> Bundle:
    files = tuple(_file_from(row) for row in body["files"])
    return Bundle(
        folder,
        _text(body["name"]),
        _integer(body["version"], 1),
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
        _text(row["role"]),
        _text(row["path"]),
        _text(row["format"]),
        _text(row["sha256"]),
        _integer(row["bytes"], 0),
        tensors["inputs"],
        tensors["outputs"],
        **{name: dict(row.get(name, {})) for name in ("parity", "cost", "latency", "delegates")},
    )


def _tensor_from(row: dict[str, Any]) -> TensorSpec:
    if row["dtype"] not in DTYPES:
        raise ValueError(f"tensor {row['name']!r} has dtype {row['dtype']!r}, not one of {', '.join(DTYPES)}")
    return TensorSpec(
        _text(row["name"]),
        row["dtype"],
        tuple(_integer(dim, -1) for dim in row["shape"]),
        _text(row["layout"]),
        _text(row["range"]),
    )


def default_bundle(variant: str = MAIN) -> Path:
    """Return the folder of a bundle that is installed with mvstylizer.

    Args:
        variant: ``mvstylizer``, or ``lite`` for devices; falls back to ``mvstylizer``.

    Raises:
        BundleError: No bundle is installed.
    """
    models = Path(__file__).resolve().parent / "models"
    for name in (variant, MAIN):
        if (models / name / MANIFEST_NAME).is_file():
            return models / name
    raise BundleError(
        f"The bundled model {models / MAIN} is missing",
        "Reinstall mvstylizer, or name a bundle with --bundle",
    )
