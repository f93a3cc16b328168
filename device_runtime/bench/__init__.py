"""Benchmarks of the phone's TFLite kernels, run on a phone through the adb binary."""
