"""Load a user's stylizer and check that it keeps the protocol (`export.protocol`), before anything is traced.

Every error is one line that names the member and the line of the user's file.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from export.protocol import BINS, KINDS
from mvstylizer.errors import MVStylizerError

PROTOCOL_HINT: Final = "See docs/own_stylizer.md, or start from: mvstylizer export --init mystyle/"
_ROOT: Final = Path(__file__).resolve().parents[1]
_KIT: Final = ("export", "training", "mvstylizer", "mvstylizer_cli", "fl")
_NUMBERS: Final = {"style_code_size": 1, "network_pixels": 64, "style_pixels": 256, "cell": 2}
_METHODS: Final = {"encode_style": ("style",), "predict": ("content", "code")}
_MAX_NAMES: Final = 4  # of weights in a message
_OPERATOR: Final = re.compile(r"OpOverload\(op='aten\._?(?:\w*_)?(?P<name>[a-z0-9]+)'")  # its last word
_FRAME: Final = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')


class StylizerModuleError(MVStylizerError):
    """A user's stylizer cannot be loaded, or does not keep the protocol."""


def load_stylizer(target: str, weights: Path | None = None) -> nn.Module:
    """Build a stylizer, load its weights and check it.

    Args:
        target: ``package.module:function``; the module is found in the current folder, or where Python finds
            modules. A function with a parameter gets the path of the weights and loads them itself.
        weights: File of a state dict, ``.safetensors`` or written by `torch.save`.

    Returns:
        The module, in evaluation mode.

    Raises:
        StylizerModuleError: The module cannot be imported, `build` fails, the weights do not fit, or a member
            of the protocol is missing or wrong.
    """
    build = _builder(target)
    loads_itself = bool(inspect.signature(build).parameters)
    if loads_itself and weights is None:
        raise StylizerModuleError(f"{target} takes the path of its weights", "Name the file with --weights")
    with _located(f"{target} failed"):
        module = build(weights) if loads_itself else build()
    if not isinstance(module, nn.Module):
        raise StylizerModuleError(
            f"{target} returns a {type(module).__name__}, not a torch.nn.Module{_at(build)}", PROTOCOL_HINT
        )
    if weights is not None and not loads_itself:
        _load_weights(module, weights)
    module = module.eval().float().requires_grad_(False)
    check_stylizer_module(module)
    return module


def check_stylizer_module(module: nn.Module) -> None:
    """Check the members of a stylizer, and both methods on pictures of two sizes.

    Raises:
        StylizerModuleError: A member is missing or wrong, or a method raises, or returns another shape or a
            value that is not finite.
    """
    name = type(module).__name__
    for member in ("kind", *_NUMBERS, *_METHODS):
        if not hasattr(module, member):
            raise StylizerModuleError(f"{name} has no {member}{_at(type(module))}", PROTOCOL_HINT)
    if module.kind not in KINDS:
        raise StylizerModuleError(
            f"{name}.kind is {module.kind!r}, not one of {', '.join(KINDS)}{_at(type(module), 'kind')}",
            PROTOCOL_HINT,
        )
    for member, lowest in _NUMBERS.items():
        _check_number(module, member, lowest)
    if int(module.cell) % 2:  # type: ignore[arg-type]
        raise StylizerModuleError(f"{name}.cell is {module.cell}, an odd number{_at(type(module), 'cell')}")
    for member in _METHODS:
        if not callable(getattr(module, member)):
            raise StylizerModuleError(f"{name}.{member} is not a method{_at(type(module), member)}")
    _check_methods(module)


def explain(error: BaseException, what: str) -> StylizerModuleError:
    """Return an error of a user's code as one line with the place in the user's file."""
    return StylizerModuleError(f"{what}: {_reason(error)}{_place(error)}", PROTOCOL_HINT)


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
        f"{type(module).__name__} cannot be exported: {_reason(cause)}{place or _place(error, module)}",
        "Avoid control flow that depends on values, and operators without an ONNX form",
    )


def _builder(target: str) -> Callable[..., Any]:
    name, _, attribute = target.partition(":")
    if not all(part.isidentifier() for part in (*name.split("."), attribute)):
        raise StylizerModuleError(
            f"{target} does not name a function",
            "Write package.module:function, as in mystyle.model:build",
        )
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as err:
        if err.name and (name == err.name or name.startswith(f"{err.name}.")):
            raise StylizerModuleError(
                f"There is no module {err.name} in {here} or among the installed ones",
                "Run the command in the folder that contains the package",
            ) from err
        raise explain(err, f"{name} cannot be imported") from err
    except Exception as err:
        raise explain(err, f"{name} cannot be imported") from err
    build = getattr(module, attribute, None)
    if not callable(build):
        raise StylizerModuleError(
            f"{module.__file__} has no function {attribute}", "Name the function that returns the stylizer"
        )
    return build  # type: ignore[no-any-return]


def _load_weights(module: nn.Module, path: Path) -> None:
    given, wanted = _read_weights(path), module.state_dict()
    differs = [
        f"{name} is {tuple(given[name].shape)}, not {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in given and given[name].shape != value.shape
    ]
    problems = (
        ("misses", sorted(wanted.keys() - given.keys())),
        ("also has", sorted(given.keys() - wanted.keys())),
        ("has other shapes:", differs),
    )
    if found := [f"{what} {_listed(names)}" for what, names in problems if names]:
        raise StylizerModuleError(
            f"{path} does not fit {type(module).__name__}: it {'; it '.join(found)}",
            "Use the weights of this architecture",
        )
    module.load_state_dict(dict(given))


def _read_weights(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise StylizerModuleError(f"{path} does not exist", "Name the weights with --weights")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError) as err:
        raise StylizerModuleError(f"{path} cannot be read: {_reason(err)}", "Save a state_dict") from err
    except Exception as err:  # unpickling refuses what is not a tensor with exceptions of many kinds
        raise StylizerModuleError(
            f"{path} is not a state dict: {_reason(err)}", "Save model.state_dict() with torch.save"
        ) from err
    for key in ("state_dict", "model", "params"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise StylizerModuleError(
            f"{path} is not a state dict", "Save model.state_dict() with torch.save or as .safetensors"
        )
    return content


def _check_number(module: nn.Module, member: str, lowest: int) -> None:
    value = getattr(module, member)
    if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
        raise StylizerModuleError(
            f"{type(module).__name__}.{member} is {value!r}, not a whole number from {lowest}"
            f"{_at(type(module), member)}",
            PROTOCOL_HINT,
        )


@torch.no_grad()
def _check_methods(module: nn.Module) -> None:
    torch.manual_seed(0)
    thumb = (torch.rand(1, 3, 96, 96),) if getattr(module, "takes_thumbnail", False) else ()
    size = int(module.style_code_size)  # type: ignore[arg-type]
    for rows, columns in ((2, 3), (4, 2)):
        height, width = rows * int(module.cell), columns * int(module.cell)  # type: ignore[arg-type]
        code = _checked(module, "encode_style", (torch.rand(1, 3, 16 + rows, 40), *thumb), (1, size))
        content = torch.rand(1, 3, height, width)
        shape = _predicted_shape(module, rows, columns)
        _checked(module, "predict", (content, code, *thumb), shape)
        _checked(module, "predict", (torch.zeros_like(content), code, *thumb), shape)


def _predicted_shape(module: nn.Module, rows: int, columns: int) -> tuple[int, ...]:
    """Return the shape of a kind's prediction; -1 is free."""
    cell = int(module.cell)  # type: ignore[arg-type]
    return {
        "image": (1, 3, rows * cell, columns * cell),
        "affine": (1, 12, rows, columns),
        "grid": (1, int(getattr(module, "bins", BINS)), 12, rows, columns),
        "lut": (1, 3, -1, -1, -1),
    }[str(module.kind)]


def _checked(module: nn.Module, member: str, inputs: tuple[Tensor, ...], shape: tuple[int, ...]) -> Tensor:
    method = getattr(module, member)
    sizes = " and ".join("×".join(map(str, each.shape)) for each in inputs)
    what = f"{type(module).__name__}.{member}"
    with _located(f"{what} failed on {sizes}"):
        found = method(*inputs)
    at = _at(type(module), member)
    if not isinstance(found, Tensor) or not found.is_floating_point():
        kind = found.dtype if isinstance(found, Tensor) else type(found).__name__
        raise StylizerModuleError(f"{what} returns {kind}, not a float tensor{at}", PROTOCOL_HINT)
    sides = set(found.shape[2:]) if -1 in shape else set()
    fits = len(found.shape) == len(shape) and all(
        b in (-1, a) for a, b in zip(found.shape, shape, strict=True)
    )
    if not fits or len(sides) > 1 or sides & {0, 1}:
        wanted = "1×3×S×S×S" if -1 in shape else "×".join(map(str, shape))
        raise StylizerModuleError(
            f"{what} returns {'×'.join(map(str, found.shape))} for {sizes}, not {wanted}{at}", PROTOCOL_HINT
        )
    if not torch.isfinite(found).all():
        raise StylizerModuleError(
            f"{what} returns values that are not finite for {sizes}{at}",
            "Add a small number where you divide or take a root of a variance: a picture can be flat",
        )
    return found


@contextmanager
def _located(what: str) -> Iterator[None]:
    try:
        yield
    except MVStylizerError:
        raise
    except Exception as err:
        raise explain(err, what) from err


def _reason(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _place(error: BaseException, module: nn.Module | None = None) -> str:
    """Return the place of an error or of one of its causes; without one, that of the module's class."""
    cause: BaseException | None = error
    while cause is not None:
        if place := _user_line(cause):
            return place
        cause = cause.__cause__ or cause.__context__
    return "" if module is None else _at(type(module))


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


def _at(thing: Any, member: str = "") -> str:
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


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more
