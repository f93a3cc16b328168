"""ONNX graphs: writing, checking, replacing weights."""
