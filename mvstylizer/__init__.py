"""Edge-assisted photorealistic video style transfer, as a library."""
