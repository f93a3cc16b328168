"""TFLite files built from TensorFlow functions: the phone's kernels and the lite network.

Each module of a kernel states its formula, builds the file and lists its tensors for the manifest. The lite
network is converted from ONNX (`onnx_graph`). TensorFlow is imported only while a file is built. No constant
of a kernel for any frame size depends on that size: the caller feeds strips or tiles and resizes the inputs.
"""
