"""Code that runs inside Triton: `model.py` is copied next to each ONNX file and imported by Triton's stub."""
