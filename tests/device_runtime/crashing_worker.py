"""A worker whose runtime finds its heap corrupted, for `test_trial`."""

import os

os.abort()
