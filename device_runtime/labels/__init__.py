"""Label images: the sky takes the style of the sky, the ground that of the ground."""
