"""Forwards IP packets between two TUN devices with a delay, a rate limit and a bounded queue.

Run by `benchmarks.network.tun` as a standalone script: it must not share an interpreter with the code that it
delays. Arguments: two file descriptors, the one-way delay in seconds, the rate in bits per second. Exits when
standard input closes.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import select
import sys
import time

MAX_QUEUE_S = 0.2  # seconds of packets at the given rate; further ones are dropped
MAX_PACKET = 65_536
SPIN_S = 3e-4  # shorter waits are busy waits: a poll may sleep for a millisecond


def forward(devices: tuple[int, int], delay: float, rate: float) -> None:
    """Forward packets until standard input closes."""
    poll = select.epoll()
    for descriptor in (*devices, sys.stdin.fileno()):
        poll.register(descriptor, select.EPOLLIN)
    in_flight: list[tuple[float, int, int, bytes]] = []
    free_at = [0.0, 0.0]  # when each direction's line is free again
    number = 0
    while True:
        wait = in_flight[0][0] - time.monotonic() if in_flight else 1.0
        for descriptor, _ in poll.poll(max(0.0, wait - SPIN_S)):
            if descriptor not in devices:
                return
            side = devices.index(descriptor)
            for packet in _pending(descriptor):
                now = time.monotonic()
                start = max(now, free_at[side])
                if start - now < MAX_QUEUE_S:
                    free_at[side] = start + 8 * len(packet) / rate
                    number += 1  # keeps packets with equal due times in order
                    heapq.heappush(in_flight, (free_at[side] + delay, number, devices[1 - side], packet))
        while in_flight and in_flight[0][0] <= time.monotonic():
            *_, target, packet = heapq.heappop(in_flight)
            with contextlib.suppress(OSError):  # the kernel's queue is full: the packet is lost
                os.write(target, packet)


def _pending(device: int, max_packets: int = 64) -> list[bytes]:
    packets: list[bytes] = []
    with contextlib.suppress(BlockingIOError):
        while len(packets) < max_packets:
            packets.append(os.read(device, MAX_PACKET))
    return packets


if __name__ == "__main__":
    first, second, seconds, bits = sys.argv[1:]
    forward((int(first), int(second)), float(seconds), float(bits))
