"""Results come in order, memory stays flat, and a dying worker takes one item with it."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from registry_assets.images import workers
from registry_assets.images.workers import CRASHED, TOO_LARGE, TOO_LONG, map_in_order

# Built-in functions, because a worker process can always import them.
PROCESS = "__import__('os').getpid()"
ALLOW = "__import__('registry_assets.images.worker_process', fromlist=['_']).allow_time"
WAIT = "__import__('time').sleep"


def failed(item: Any, reason: str) -> str:
    return f"{reason}: {item}"


def test_results_come_in_the_order_of_the_items_from_several_processes() -> None:
    results = list(map_in_order(abs, range(-50, 0), on_failure=failed, chunk_size=3))
    assert results == list(range(50, 0, -1))
    processes = list(map_in_order(eval, [PROCESS] * 40, on_failure=failed, chunk_size=1))
    assert os.getpid() not in processes


def test_even_a_single_item_is_done_in_another_process_and_the_next_in_the_same_one() -> None:
    [process] = map_in_order(eval, [PROCESS], on_failure=failed)
    assert process != os.getpid()
    assert list(map_in_order(eval, [PROCESS] * 2, on_failure=failed)) == [process] * 2


@pytest.mark.parametrize(
    ("guilty", "reason"),
    [
        pytest.param("__import__('os')._exit(3)", CRASHED, id="ends"),
        pytest.param("__import__('os').kill(__import__('os').getpid(), 9)", CRASHED, id="killed"),
        pytest.param("__import__('os').kill(__import__('os').getpid(), 11)", CRASHED, id="fault"),
        pytest.param("__import__('ctypes').string_at(8)", CRASHED, id="reads wild"),
        pytest.param("bytearray(5 << 30)", TOO_LARGE, id="needs memory"),
        pytest.param("(_ for _ in ()).throw(MemoryError())", TOO_LARGE, id="says so"),
        pytest.param(f"{ALLOW}(seconds=0.1) or sum(iter(int, 1))", TOO_LONG, id="turns"),
        pytest.param(f"{ALLOW}(seconds=0.02) or {WAIT}(60)", TOO_LONG, id="waits"),
    ],
)
@pytest.mark.parametrize("count", [3, 30])
def test_what_a_worker_cannot_do_costs_that_item_only(guilty: str, reason: str, count: int) -> None:
    items = [str(number) for number in range(count)]
    items[1] = items[-1] = guilty
    expected: list[int | str] = list(range(count))
    expected[1] = expected[-1] = failed(guilty, reason)
    assert list(map_in_order(eval, items, on_failure=failed, chunk_size=2)) == expected


def test_what_makes_progress_may_take_longer_than_one_step_may() -> None:
    step = f"{ALLOW}(seconds=0.5) or {WAIT}(0.01) or sum(range(1_000_000))"
    item = f"[{step} for _ in range(100)] and __import__('time').process_time()"
    [seconds] = map_in_order(eval, [item], on_failure=failed)
    assert float(seconds) > 0.5


def test_a_library_that_prints_does_not_garble_the_answers() -> None:
    items = ["print('x' * 100_000)", "__import__('os').write(1, b'y')", "7"]
    assert list(map_in_order(eval, items, on_failure=failed)) == [None, 1, 7]


def test_a_worker_that_died_while_it_waited_is_replaced() -> None:
    [process] = map_in_order(eval, [PROCESS], on_failure=failed)
    os.kill(int(process), signal.SIGKILL)
    [other] = map_in_order(eval, [PROCESS], on_failure=failed)
    assert other not in (process, os.getpid())


def test_threads_can_ask_at_the_same_time() -> None:
    def ask(number: int) -> list[int | str]:
        return list(map_in_order(abs, [-number] * 20, on_failure=failed, chunk_size=2))

    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(ask, range(12))) == [[number] * 20 for number in range(12)]


def test_results_that_nobody_waits_for_end_the_work(tmp_path: Path) -> None:
    begin = time.monotonic()
    results = map_in_order(eval, ["1", f"{WAIT}(60)", "3"], on_failure=failed, chunk_size=1)
    assert next(results) == 1
    assert isinstance(results, Generator)
    results.close()
    assert time.monotonic() - begin < 30


def test_a_worker_ends_with_the_process_that_it_works_for(tmp_path: Path) -> None:
    # As a video that is being decoded: it would go on to write files for nobody.
    item = (
        f"open({str(tmp_path / 'process')!r}, 'w').write({PROCESS}.__str__()) and "
        f"[{ALLOW}() or {WAIT}(0.05) for _ in range(2000)]"
    )
    program = (
        "from registry_assets.images.workers import map_in_order\n"
        f"list(map_in_order(eval, [{item!r}], on_failure=print))"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[2]) as run:
        wait_until(lambda: (tmp_path / "process").exists() and (tmp_path / "process").read_text())
        run.kill()
    process = int((tmp_path / "process").read_text())
    wait_until(lambda: not is_running(process))


def wait_until(claim: Callable[[], Any]) -> None:
    end = time.monotonic() + 60
    while not claim():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_running(process: int) -> bool:
    """Whether there is such a process; one that ended may wait for somebody to notice."""
    done = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False
    )
    return bool(done.stdout.strip()) and not done.stdout.startswith("Z")


def test_an_exception_is_passed_on_and_not_taken_for_a_crash() -> None:
    with pytest.raises(ZeroDivisionError):
        list(map_in_order(eval, ["1"] * 40 + ["1/0"], on_failure=failed))


def test_memory_does_not_grow_with_the_number_of_items() -> None:
    drawn = 0

    def endless() -> Iterator[int]:
        nonlocal drawn
        while True:
            drawn += 1
            yield drawn

    with ThreadPoolExecutor(2) as executor:
        results = map_in_order(abs, endless(), on_failure=failed, executor=executor, chunk_size=4)
        assert list(itertools.islice(results, 100)) == list(range(1, 101))
    assert drawn < 100 + 2 * workers._CHUNKS_PER_WORKER * 4 + 4


def test_a_given_executor_is_used_and_left_running() -> None:
    with ThreadPoolExecutor(1) as executor:
        assert list(map_in_order(abs, [-1, -2], on_failure=failed, executor=executor)) == [1, 2]
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
    results = map_in_order(abs, range(-20, 0), on_failure=failed, executor=executor, chunk_size=5)
    assert list(results) == list(range(20, 0, -1))
