"""Flower 1.41 as the transport: SuperLink in the cloud, a SuperNode per edge, two apps of ours."""
