"""The public server: admission, validation, inference through Triton."""
