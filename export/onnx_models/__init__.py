"""ONNX graphs: writing, checking, exchanging weights."""
