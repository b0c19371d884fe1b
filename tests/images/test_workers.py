"""Results come in order, memory stays flat, and a dying worker takes one item with it."""

import itertools
import os
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from typing import Any

import pytest

from registry_assets.images import workers
from registry_assets.images.workers import map_in_order

# Built-in functions, because a worker process can always import them.
DIE = "__import__('os')._exit(3)"
PROCESS = "__import__('os').getpid()"


def crashed(item: Any) -> str:
    return f"crashed: {item}"


def test_results_come_in_the_order_of_the_items_from_several_processes() -> None:
    results = list(map_in_order(abs, range(-50, 0), on_crash=crashed, chunk_size=3))
    assert results == list(range(50, 0, -1))
    processes = list(map_in_order(eval, [PROCESS] * 40, on_crash=crashed, chunk_size=1))
    assert os.getpid() not in processes


def test_few_items_are_not_worth_a_process() -> None:
    assert set(map_in_order(eval, [PROCESS] * 31, on_crash=crashed)) == {os.getpid()}


def test_a_dying_worker_takes_only_its_item_with_it() -> None:
    items = [str(number) for number in range(100)]
    items[3] = items[77] = DIE
    expected: list[int | str] = list(range(100))
    expected[3] = expected[77] = crashed(DIE)
    assert list(map_in_order(eval, items, on_crash=crashed, chunk_size=2)) == expected


def test_an_exception_is_passed_on_and_not_taken_for_a_crash() -> None:
    with pytest.raises(ZeroDivisionError):
        list(map_in_order(eval, ["1"] * 40 + ["1/0"], on_crash=crashed))


def test_memory_does_not_grow_with_the_number_of_items() -> None:
    drawn = 0

    def endless() -> Iterator[int]:
        nonlocal drawn
        while True:
            drawn += 1
            yield drawn

    with ThreadPoolExecutor(2) as executor:
        results = map_in_order(abs, endless(), on_crash=crashed, executor=executor, chunk_size=4)
        assert list(itertools.islice(results, 100)) == list(range(1, 101))
    assert drawn < 100 + 2 * workers._CHUNKS_PER_WORKER * 4 + 4


def test_a_given_executor_is_used_and_left_running() -> None:
    with ThreadPoolExecutor(1) as executor:
        assert list(map_in_order(abs, [-1, -2], on_crash=crashed, executor=executor)) == [1, 2]
        assert executor.submit(abs, -3).result() == 3


class LosesItsWorkers(Executor):
    """An executor whose third task, and each one after it, ends as when a cluster loses workers."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.submitted = 0

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.submitted += 1
        future: Future[Any] = Future()
        if self.submitted < 3:
            future.set_result(function(*args, **kwargs))
        else:
            future.set_exception(self.error)
        return future


@pytest.mark.parametrize("error", [BrokenExecutor("lost"), RuntimeError("KilledWorker")])
def test_what_a_given_executor_loses_is_done_on_this_machine(error: Exception) -> None:
    executor = LosesItsWorkers(error)
    results = map_in_order(abs, range(-20, 0), on_crash=crashed, executor=executor, chunk_size=5)
    assert list(results) == list(range(20, 0, -1))
