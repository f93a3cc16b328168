"""Benchmark of the TFLite kernels on a phone, over adb."""
