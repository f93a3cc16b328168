"""Flower 1.41 as the transport: a SuperLink in the cloud, a SuperNode per edge, and our two apps."""
