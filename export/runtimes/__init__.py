"""The runtimes that exported files are checked on."""
