"""Carries IP packets between two TUN devices: later by a delay, at a rate, through a bounded queue.

Run by `benchmarks.network.tun`, as a script that imports nothing of ours: it must not share its interpreter
with what it delays. Arguments: two file descriptors, the one-way delay in seconds, the rate in bits a second.
It ends with its standard input.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import select
import sys
import time

QUEUE_S = 0.2  # of packets at the rate; more are dropped
LARGEST = 65_536
COARSE_S = 3e-4  # shorter waits are spun through: a poll may sleep a millisecond


def carry(devices: tuple[int, int], delay: float, rate: float) -> None:
    """Carry packets until standard input ends."""
    poll = select.epoll()
    for descriptor in (*devices, sys.stdin.fileno()):
        poll.register(descriptor, select.EPOLLIN)
    under_way: list[tuple[float, int, int, bytes]] = []
    free = [0.0, 0.0]  # when each direction's line is free again
    number = 0
    while True:
        wait = under_way[0][0] - time.monotonic() if under_way else 1.0
        for descriptor, _ in poll.poll(max(0.0, wait - COARSE_S)):
            if descriptor not in devices:
                return
            side = devices.index(descriptor)
            for packet in _waiting(descriptor):
                now = time.monotonic()
                start = max(now, free[side])
                if start - now < QUEUE_S:
                    free[side] = start + 8 * len(packet) / rate
                    number += 1  # packets that are due together keep their order
                    heapq.heappush(under_way, (free[side] + delay, number, devices[1 - side], packet))
        while under_way and under_way[0][0] <= time.monotonic():
            *_, target, packet = heapq.heappop(under_way)
            with contextlib.suppress(OSError):  # the kernel's queue is full: a lost packet
                os.write(target, packet)


def _waiting(device: int, most: int = 64) -> list[bytes]:
    packets: list[bytes] = []
    with contextlib.suppress(BlockingIOError):
        while len(packets) < most:
            packets.append(os.read(device, LARGEST))
    return packets


if __name__ == "__main__":
    first, second, seconds, bits = sys.argv[1:]
    carry((int(first), int(second)), float(seconds), float(bits))
