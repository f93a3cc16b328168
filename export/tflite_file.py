"""The flatbuffer of a TFLite file as objects of LiteRT's schema, and back."""

from __future__ import annotations

from typing import Any, Final

import flatbuffers  # type: ignore[import-untyped]
from ai_edge_litert import schema_py_generated as schema

OPERATOR_NAMES: Final[dict[int, str]] = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)
}
"""Name of each built-in operator by its code."""


def unpack(content: bytes) -> Any:
    """Return a TFLite file as a `ModelT`."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))


def pack(model: Any) -> bytes:
    """Return a `ModelT` as a TFLite file."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def builtin_code(code: Any) -> int:
    """Return the built-in operator of an `OperatorCodeT`.

    Codes up to 126 are stored in the older 8-bit field too; the larger of the two is the operator.
    """
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))
