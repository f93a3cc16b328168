"""TFLite kernels of the phone: one file each for warp, transfer and the key-frame decision.

Each module states its formula in words, builds the file (TensorFlow is imported only then) and lists the
tensors for the manifest. No constant in a graph depends on the frame's size, so one file serves every
resolution: the caller feeds strips or tiles and resizes the inputs.
"""
