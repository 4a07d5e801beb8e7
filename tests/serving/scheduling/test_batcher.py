"""Which requests are run together, and that each gets its own outputs."""

import asyncio
from typing import Any

import numpy as np
import pytest

from serving.scheduling.batcher import COLLECTING_ITERATIONS, Batcher


class Model:
    """A champion whose outputs [N, 1] are twice its inputs [N, 1]; keeps the inputs of each run."""

    def __init__(self, inline: bool = True) -> None:
        self.inline, self.predictor = inline, self
        self.runs: list[list[float]] = []

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        self.runs.append(inputs[:, 0].tolist())
        if (inputs < 0).any():
            raise ArithmeticError("negative")
        return 2 * inputs


def rows(*values: float) -> Any:
    return np.array(values, np.float32)[:, None]


def batcher(most: int = 8) -> Batcher:
    return Batcher(most, lambda *_: None)


async def later(iterations: int, queue: Batcher, model: Any, inputs: np.ndarray) -> list[float]:
    for _ in range(iterations):
        await asyncio.sleep(0)
    result = await queue.predict(model, inputs)
    return result.outputs[:, 0].tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("inline", [True, False], ids=["on the loop", "in a thread"])
def test_requests_of_a_few_iterations_are_one_run(inline: bool) -> None:
    model = Model(inline)

    async def run() -> list[list[float]]:
        queue = batcher()
        requests = (later(number, queue, model, rows(number, -0.0)) for number in range(COLLECTING_ITERATIONS + 1))
        answers = await asyncio.gather(*requests)
        queue.close()
        return list(answers)

    assert asyncio.run(run()) == [[2 * number, 0] for number in range(COLLECTING_ITERATIONS + 1)]
    assert len(model.runs) == 1


def test_a_request_alone_waits_for_no_other() -> None:
    model = Model()

    async def run() -> list[float]:
        return await asyncio.wait_for(later(0, batcher(), model, rows(3)), 5)

    assert asyncio.run(run()) == [6]


def test_a_run_has_one_champion_and_at_most_so_many_rows() -> None:
    first, second = Model(), Model()

    async def run() -> list[list[float]]:
        queue = batcher(most=3)
        sent = [(first, rows(1, 2)), (first, rows(3)), (first, rows(4)), (second, rows(5)), (first, rows(6, 7, 8, 9))]
        return list(await asyncio.gather(*(later(0, queue, *one) for one in sent)))

    assert asyncio.run(run()) == [[2, 4], [6], [8], [10], [12, 14, 16, 18]]
    assert (first.runs, second.runs) == ([[1, 2, 3], [4], [6, 7, 8], [9]], [[5]])


def test_an_error_is_that_of_all_requests_of_its_run_and_the_queue_continues() -> None:
    model = Model()

    async def run() -> tuple[list[Any], list[float]]:
        queue = batcher()
        failed = await asyncio.gather(*(later(0, queue, model, rows(x)) for x in (1, -1)), return_exceptions=True)
        return failed, await later(0, queue, model, rows(2))

    failed, answer = asyncio.run(run())
    assert [type(error) for error in failed] == [ArithmeticError] * 2
    assert answer == [4]


def test_a_request_that_has_timed_out_is_not_run() -> None:
    model = Model()

    async def run() -> list[float]:
        queue = batcher()
        ended, other = (asyncio.ensure_future(later(0, queue, model, rows(x))) for x in (1, 2))
        await asyncio.sleep(0)
        ended.cancel()
        return await other

    assert asyncio.run(run()) == [4]
    assert model.runs == [[2]]
