"""The edge: Triton model repository, the bundled server, and the client that phones use."""
