"""Runs an ONNX graph on Qualcomm's Hexagon (HTP) library for the host."""

from __future__ import annotations

import sys

import onnxruntime

from export.runtimes.subprocess_runner import NOT_WHOLE, read_cases, write_outputs

# Snapdragon 8 Gen 3; without model and architecture the library cannot finish a graph.
OPTIONS = {"soc_model": "57", "htp_arch": "75"}


def main(file: str, source: str, target: str) -> int:
    """Run all cases of `source` and write `target`."""
    import onnxruntime_qnn as qnn

    name = qnn.get_ep_name()
    onnxruntime.register_execution_provider_library(name, qnn.get_library_path())
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == name]
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    options.add_provider_for_devices(devices[:1], {"backend_path": qnn.get_qnn_htp_path(), **OPTIONS})
    try:
        session = onnxruntime.InferenceSession(file, options)
    except Exception as error:  # ONNX Runtime's exceptions share no other base
        if "disable_cpu_ep_fallback" not in str(error) and "fallback" not in str(error):
            raise
        return NOT_WHOLE
    write_outputs(target, {case: session.run(None, inputs) for case, inputs in read_cases(source).items()})
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
