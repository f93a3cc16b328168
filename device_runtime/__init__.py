"""The phone side: a video in, its key frames stylized by an edge, the frames between made on the device."""
