"""``export --init``: write a template project with a stylizer that works as it is."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from mvstylizer.errors import MVStylizerError

_TEMPLATE: Final = Path(__file__).with_name("template")
_FILES: Final = ("__init__.py", "model.py", "README.md")


class TemplateError(MVStylizerError):
    """The template project cannot be written."""


def write_template(folder: Path) -> list[Path]:
    """Write the project and return its files.

    Args:
        folder: New or empty; its name is the package's.

    Raises:
        TemplateError: The name is not one of a Python package, the folder is not empty, or cannot be written.
    """
    name = folder.resolve().name
    if not name.isidentifier():
        raise TemplateError(f"{name} is not the name of a package", "Use letters, digits and underscores")
    try:
        if folder.exists() and any(folder.iterdir()):
            raise TemplateError(f"{folder} is not empty", "Name a new folder with --init")
        part = folder.with_name(f".{name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for file in _FILES:
            text = (_TEMPLATE / file).read_text()
            (part / file).write_text(text.replace("PACKAGE", name))
        if folder.exists():
            folder.rmdir()
        part.rename(folder)
    except OSError as err:
        raise TemplateError(f"{folder} cannot be written: {err.strerror}", "Name another folder") from err
    return [folder / file for file in _FILES]
