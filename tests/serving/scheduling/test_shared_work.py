"""Work that is done once for all who wait for it, and never with what was true before they asked."""

import asyncio

import pytest

from serving.scheduling.shared_work import MAX_PAUSE, SharedWork


def test_those_who_ask_while_it_runs_get_the_next_result() -> None:
    async def go() -> tuple[list[int], int]:
        shared, begun, running = SharedWork(), 0, asyncio.Event()

        async def work() -> int:
            nonlocal begun
            begun += 1
            number = begun
            running.set()
            await asyncio.sleep(0.01)
            return number

        first = [asyncio.create_task(shared.result("key", work)) for _ in range(3)]
        await running.wait()
        later = [asyncio.create_task(shared.result("key", work)) for _ in range(3)]
        other = asyncio.create_task(shared.result("another key", work))
        return await asyncio.gather(*first, *later, other), begun

    assert asyncio.run(go()) == ([1, 1, 1, 2, 2, 2, 3], 3)


def test_a_failure_reaches_all_who_wait_and_one_who_leaves_stops_nothing() -> None:
    async def go() -> list[object]:
        shared, results = SharedWork(), iter([ValueError("first"), 2])

        async def work() -> int:
            await asyncio.sleep(0)
            match next(results):
                case int(number):
                    return number
                case error:
                    raise error

        failed = await asyncio.gather(*(shared.result("key", work) for _ in range(2)), return_exceptions=True)
        leaves, stays = (asyncio.create_task(shared.result("key", work)) for _ in range(2))
        await asyncio.sleep(0)
        leaves.cancel()
        return [*map(str, failed), await stays]

    assert asyncio.run(go()) == ["first", "first", 2]


@pytest.mark.parametrize(("seconds", "pause"), [(0.02, 0.02), (3.0, MAX_PAUSE)])
def test_there_is_a_pause_after_each(monkeypatch: pytest.MonkeyPatch, seconds: float, pause: float) -> None:
    """Those who ask again and again do not keep the worker busy without a break."""
    now, pauses, sleep = 100.0, [], asyncio.sleep

    async def record(duration: float) -> None:
        pauses.append(duration)
        await sleep(0)

    async def work() -> None:
        nonlocal now
        now += seconds

    async def go() -> None:
        shared = SharedWork()
        for _ in range(2):
            await shared.result("key", work)

    with monkeypatch.context() as patch:
        patch.setattr("serving.scheduling.shared_work.time.perf_counter", lambda: now)
        patch.setattr("serving.scheduling.shared_work.asyncio.sleep", record)
        asyncio.run(go())
    assert pauses[0] < 0
    assert pauses[1] == pytest.approx(pause)
