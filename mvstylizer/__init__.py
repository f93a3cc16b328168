"""Edge-assisted photorealistic video style transfer, as a library.

Usage:
    import mvstylizer

    bundle = mvstylizer.load_bundle(mvstylizer.default_bundle())
    with mvstylizer.OnnxStylizer(bundle) as stylizer:
        mvstylizer.stylize_video(
            Path("street.mp4"), Path("dusk.jpg"), Path("out.mp4"), stylizer=stylizer, bundle=bundle
        )

Each name is imported on first use, so ``import mvstylizer`` loads neither NumPy nor a model runtime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from device_runtime.options import StylizeOptions
    from device_runtime.pipeline import stylize_photo, stylize_video
    from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
    from edge_triton.client.client import EdgeClient
    from mvstylizer.bundle import default_bundle, load_bundle
    from mvstylizer.errors import MVStylizerError

    __version__: str

__all__ = [
    "EdgeClient",
    "MVStylizerError",
    "OnnxStylizer",
    "StylizeOptions",
    "__version__",
    "default_bundle",
    "load_bundle",
    "stylize_photo",
    "stylize_video",
]

# The same names at run time. The modules are strings because this package imports no other folder.
_MODULES = {
    "EdgeClient": "edge_triton.client.client",
    "MVStylizerError": "mvstylizer.errors",
    "OnnxStylizer": "device_runtime.stylizers.onnx_stylizer",
    "StylizeOptions": "device_runtime.options",
    "default_bundle": "mvstylizer.bundle",
    "load_bundle": "mvstylizer.bundle",
    "stylize_photo": "device_runtime.pipeline",
    "stylize_video": "device_runtime.pipeline",
}

if not TYPE_CHECKING:  # a type checker that saw __getattr__ would accept any name

    def __getattr__(name: str) -> object:
        """Import a public name on first use (PEP 562)."""
        if name == "__version__":
            from importlib.metadata import version

            value = version("mvstylizer")
        elif name in _MODULES:
            from importlib import import_module

            value = getattr(import_module(_MODULES[name]), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
