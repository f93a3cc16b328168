"""Errors of a user's stylizer: one line that names the place in the user's file."""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from torch import nn

from mvstylizer.errors import MVStylizerError

PROTOCOL_HINT: Final = "See docs/own_stylizer.md, or start from: mvstylizer export --init mystyle/"
_ROOT: Final = Path(__file__).resolve().parents[1]
_KIT: Final = ("export", "training", "mvstylizer", "mvstylizer_cli", "fl")
_OPERATOR: Final = re.compile(r"OpOverload\(op='aten\._?(?:\w*_)?(?P<name>[a-z0-9]+)'")  # its last word
_FRAME: Final = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')


class StylizerModuleError(MVStylizerError):
    """A user's stylizer cannot be loaded, or does not keep the protocol."""


def explain(error: BaseException, what: str) -> StylizerModuleError:
    """Return an error of a user's code as one line with the place in the user's file."""
    return StylizerModuleError(f"{what}: {reason_of(error)}{_place(error)}", PROTOCOL_HINT)


def untraceable(error: BaseException, module: nn.Module) -> StylizerModuleError:
    """Return why a module cannot be traced, as one line with the place in the user's file.

    torch.onnx wraps the cause in its own errors, whose text is a page long: the innermost one is the reason.
    """
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    operator = _OPERATOR.search(str(cause))
    place = _call_of(operator["name"], module) if operator else ""
    return StylizerModuleError(
        f"{type(module).__name__} cannot be exported: {reason_of(cause)}{place or _place(error, module)}",
        "Avoid control flow that depends on values, and operators without an ONNX form",
    )


@contextmanager
def located(what: str) -> Iterator[None]:
    """Turn an exception of a user's code into an error that begins with `what` and names the place."""
    try:
        yield
    except MVStylizerError:
        raise
    except Exception as err:
        raise explain(err, what) from err


def reason_of(error: BaseException) -> str:
    """Return an exception's type and the first line of its text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _place(error: BaseException, module: nn.Module | None = None) -> str:
    """Return the place of an error or of one of its causes; without one, that of the module's class."""
    cause: BaseException | None = error
    while cause is not None:
        if place := _user_line(cause):
            return place
        cause = cause.__cause__ or cause.__context__
    return "" if module is None else place_of(type(module))


def _call_of(operator: str, module: nn.Module) -> str:
    """Return the place of the first call of an operator in the file of a module's class; empty if none."""
    try:
        file = inspect.getsourcefile(type(module)) or ""
        lines = Path(file).read_text().splitlines()
    except (OSError, TypeError):
        return ""
    call = re.compile(rf"\b\w*{operator}\w*\(")
    number = next((number for number, line in enumerate(lines, 1) if call.search(line)), 0)
    return f" ({_short(file)}:{number})" if number else ""


def _user_line(error: BaseException) -> str:
    """Return the last place in the user's code that an error passed, or that its text names."""
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    named = [(match["file"], int(match["line"])) for match in _FRAME.finditer(str(error))]
    for file, line in (*reversed(named), *reversed(frames)):
        if _is_users(file):
            return f" ({_short(file)}:{line})"
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({_short(error.filename)}:{error.lineno})"
    return ""


def _is_users(file: str) -> bool:
    path = Path(file)
    if file.startswith("<") or "site-packages" in path.parts or not path.is_file():
        return False
    path = path.resolve()
    if path.is_relative_to(Path(sys.base_prefix) / "lib"):
        return False
    return not any(path.is_relative_to(_ROOT / folder) for folder in _KIT)


def place_of(thing: Any, member: str = "") -> str:
    """Return the place of a class, of its member, or of a function, in parentheses; empty if unknown."""
    try:
        target = inspect.unwrap(getattr(thing, member)) if callable(getattr(thing, member, None)) else thing
        lines, first = inspect.getsourcelines(target)
        if target is thing and member:
            pattern = re.compile(rf"\b{member}\s*(:[^=]+)?=")
            first += next((i for i, line in enumerate(lines) if pattern.search(line)), 0)
        return f" ({_short(str(inspect.getsourcefile(target)))}:{first})"
    except (OSError, TypeError):
        return ""


def _short(file: str) -> str:
    path = Path(file).resolve()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
