"""Runs onnx2tf in its own process, because it prints and changes TensorFlow's settings for good."""

from __future__ import annotations

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main(source: str, target: str) -> int:
    """Convert an ONNX file and write single- and half-precision TFLite into the folder `target`."""
    import onnx
    import onnx2tf

    names = [value.name for value in onnx.load(source).graph.input]
    onnx2tf.convert(
        input_onnx_file_path=source,
        output_folder_path=target,
        keep_shape_absolutely_input_names=names,  # they are NHWC
        not_use_onnxsim=True,  # another package, and the graph is folded already
        disable_strict_mode=True,  # it would try every order of axes on random values, for minutes
        non_verbose=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
