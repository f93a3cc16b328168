"""Load a user's stylizer and check that it keeps the protocol (`export.protocol`), before anything is traced.

Every error is one line that names the member and the line of the user's file.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from export.protocol import BINS, KINDS
from export.user_errors import (
    PROTOCOL_HINT,
    StylizerModuleError,
    explain,
    located,
    place_of,
    reason_of,
)

_NUMBERS: Final = {"style_code_size": 1, "network_pixels": 64, "style_pixels": 256, "cell": 2}
_METHODS: Final = {"encode_style": ("style",), "predict": ("content", "code")}
_MAX_NAMES: Final = 4  # of weights in a message


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
    with located(f"{target} failed"):
        module = build(weights) if loads_itself else build()
    if not isinstance(module, nn.Module):
        raise StylizerModuleError(
            f"{target} returns a {type(module).__name__}, not a torch.nn.Module{place_of(build)}",
            PROTOCOL_HINT,
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
            raise StylizerModuleError(f"{name} has no {member}{place_of(type(module))}", PROTOCOL_HINT)
    if module.kind not in KINDS:
        raise StylizerModuleError(
            f"{name}.kind is {module.kind!r}, not one of {', '.join(KINDS)}{place_of(type(module), 'kind')}",
            PROTOCOL_HINT,
        )
    for member, lowest in _NUMBERS.items():
        _check_number(module, member, lowest)
    if int(module.cell) % 2:  # type: ignore[arg-type]
        at = place_of(type(module), "cell")
        raise StylizerModuleError(f"{name}.cell is {module.cell}, an odd number{at}", PROTOCOL_HINT)
    for member in _METHODS:
        if not callable(getattr(module, member)):
            raise StylizerModuleError(f"{name}.{member} is not a method{place_of(type(module), member)}")
    _check_methods(module)


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
        raise StylizerModuleError(f"{path} cannot be read: {reason_of(err)}", "Save a state_dict") from err
    except Exception as err:  # unpickling refuses what is not a tensor with exceptions of many kinds
        raise StylizerModuleError(
            f"{path} is not a state dict: {reason_of(err)}", "Save model.state_dict() with torch.save"
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
            f"{place_of(type(module), member)}",
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
    with located(f"{what} failed on {sizes}"):
        found = method(*inputs)
    at = place_of(type(module), member)
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


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more
