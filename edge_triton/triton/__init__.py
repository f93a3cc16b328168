"""The Triton server: model repository, processes, bundled and container installations."""
