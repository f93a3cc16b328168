"""One module for each kind of file in a bundle: write it, compare it with its reference, describe it."""
