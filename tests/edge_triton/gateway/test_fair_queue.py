"""Slots are shared by work, whatever the number of requests."""

from __future__ import annotations

import asyncio
from collections import Counter

from edge_triton.gateway.fair_queue import FairQueue
from edge_triton.gateway.work_pool import WorkPool


async def served(slots: int, queues: dict[str, list[float]], grants: int) -> list[str]:
    """Return the clients in the order of their grants, if all requests wait at once and end at once."""
    queue = FairQueue(slots, clock=lambda: 0.0)
    order: list[str] = []

    async def one(client: str, work: float) -> None:
        await queue.acquire(client, work)
        order.append(client)
        await asyncio.sleep(0)
        queue.release(client)

    tasks = [asyncio.ensure_future(one(client, work)) for client, each in queues.items() for work in each]
    await asyncio.gather(*tasks)
    return order[:grants]


def test_a_single_request_passes_a_long_queue() -> None:
    for slots in (1, 2, 4):
        order = asyncio.run(served(slots, {"greedy": [1.0] * 50, "good": [1.0]}, 51))
        assert order.index("good") <= slots


def test_shares_are_equal_by_work() -> None:
    order = asyncio.run(served(1, {"large": [10.0] * 20, "small": [1.0] * 200}, 110))
    counts = Counter(order)
    assert abs(10 * counts["large"] - counts["small"]) <= 20


def test_a_pause_earns_no_credit() -> None:
    async def run() -> Counter[str]:
        queue = FairQueue(1, clock=lambda: 0.0)
        for _ in range(100):
            await queue.acquire("busy", 1.0)
            queue.release("busy")
        order: list[str] = []

        async def one(client: str) -> None:
            await queue.acquire(client, 1.0)
            order.append(client)
            await asyncio.sleep(0)
            queue.release(client)

        await asyncio.gather(*(one(client) for client in ("busy", "late") for _ in range(20)))
        return Counter(order[:20])

    counts = asyncio.run(run())
    assert abs(counts["busy"] - counts["late"]) <= 2


def test_a_cancelled_wait_takes_no_slot() -> None:
    async def run() -> None:
        queue = FairQueue(1)
        await queue.acquire("a", 1.0)
        waiting = [asyncio.ensure_future(queue.acquire("b", 1.0)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        queue.release("a")  # grants the slot to one of b's
        waiting[1].cancel()
        await asyncio.wait(waiting[:2])
        await asyncio.wait_for(waiting[2], 10)
        queue.release("b")
        await asyncio.wait_for(queue.acquire("a", 1.0), 10)

    asyncio.run(run())


def test_a_client_alone_may_use_every_slot_and_shares_them_with_others() -> None:
    async def run() -> tuple[int, int]:
        queue = FairQueue(4, clock=lambda: 0.0)
        tasks = [asyncio.ensure_future(queue.acquire("greedy", 1.0)) for _ in range(10)]
        await asyncio.sleep(0)
        alone = sum(task.done() for task in tasks)
        other = asyncio.ensure_future(queue.acquire("good", 1.0))
        await asyncio.sleep(0)
        queue.release("greedy")
        await asyncio.wait_for(other, 10)
        for _ in range(3):
            queue.release("greedy")
        await asyncio.sleep(0)
        together = sum(task.done() for task in tasks) - alone
        for task in tasks:
            task.cancel()
        return alone, together

    assert asyncio.run(run()) == (4, 2)


def test_a_thread_keeps_its_slot_after_its_caller_has_gone() -> None:
    async def run() -> None:
        import threading

        pool = WorkPool(1)
        begun, finish = threading.Event(), threading.Event()

        def work() -> None:
            begun.set()
            finish.wait(60)

        first = asyncio.ensure_future(pool.run("a", 1.0, work))
        await asyncio.to_thread(begun.wait, 60)
        first.cancel()
        second = asyncio.ensure_future(pool.run("b", 1.0, lambda: "done"))
        await asyncio.sleep(0.05)
        assert not first.done()
        assert not second.done()
        finish.set()
        assert await asyncio.wait_for(second, 60) == "done"
        await asyncio.wait([first])
        assert first.cancelled()
        pool.close()

    asyncio.run(run())
