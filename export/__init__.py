"""Checkpoint in, bundle (ONNX, TFLite and one manifest) out, every output compared with its reference."""
