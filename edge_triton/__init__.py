"""The edge: gateway, bundled Triton server, and the client that phones use."""
