"""The phone side: stylizes key frames on an edge and interpolates the other frames."""
