"""The Triton server: repository, processes, containers."""
