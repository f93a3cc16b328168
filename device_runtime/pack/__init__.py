"""The phone side as a folder for an Android phone: Python, its C library, the packages and the models."""
