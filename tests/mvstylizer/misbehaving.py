"""A child that misbehaves as its argument says, for `test_limited_process`."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from mvstylizer.limited_process import limit_this_process

if __name__ == "__main__":
    limit_this_process(256 << 20)
    sys.stdout.write(json.dumps({"begun": sys.argv[1]}) + "\n")
    sys.stdout.flush()
    match sys.argv[1]:
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hog":
            bytearray(1 << 30)
        case "raise":
            raise ValueError("a\x1b[31m\nlong story")
        case "loop":
            while True:
                pass
        case "write":
            while True:
                sys.stdout.write("x" * 65536)
        case "complain":
            sys.stderr.write("warning\n" * 1_000_000)
        case "leave a child":
            if os.fork() == 0:
                os.close(1), os.close(2)
                time.sleep(1)
