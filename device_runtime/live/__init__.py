"""Live stylization of a camera or a network stream."""
