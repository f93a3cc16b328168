"""Export a checkpoint to a bundle: ONNX, TFLite and a manifest, every file compared with its reference."""
