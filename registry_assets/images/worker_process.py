"""A worker process for decoding: its limits and its main loop.

`workers` starts it, sends it a function with items, and gets an answer for each. Decoders are C
code that reads untrusted files, so the process is limited:

- memory: above `MOST_MEMORY`, allocations fail (on Linux; other systems do not enforce it). If the
  system runs out of memory, it kills such a process first.
- time: `BASE_SECONDS` for each item, and more for large files, see `allow_time`. This is CPU time,
  so that a busy machine does not change the result; in real time, the limit is ten times as long.
  Signals kill the process, even inside C code.
"""

import os
import pickle
import resource
import select
import signal
import traceback
import warnings
from typing import Any, BinaryIO

MOST_MEMORY = 4 << 30
"""The bytes that a worker may allocate: enough to measure a picture of 200 megapixels."""

BASE_SECONDS = 60.0
"""CPU time for a picture, or for a packet of a video."""

_SECONDS_PER_MEGABYTE = 1.0
_REAL_TIMES_PROCESSOR = 10
_IDLE_SECONDS = 60.0

READY, DONE, RAISED, NO_MEMORY = "ready", "done", "raised", "no memory"
"""The kinds of answers: one before the first task, then one for each item."""

TIME_SIGNALS = (signal.SIGPROF, signal.SIGALRM)
"""The signals that kill a worker at its time limit."""

# The PID of the parent, if this process is a worker.
_parent: int | None = None


def main() -> None:
    """Answer tasks from stdin on stdout, until stdin is closed or idle for a minute."""
    global _parent
    _parent = os.getppid()
    tasks, answers = _take_streams()
    _limit_process()
    # Pillow's warnings are either a reason in the table, or irrelevant here.
    warnings.simplefilter("ignore")
    # After a block of this size is freed, glibc reuses blocks up to it. Otherwise it would return
    # the pixels of each image to the system, which takes a third of all time (mallopt(3),
    # M_MMAP_THRESHOLD). Harmless with other allocators.
    bytearray(31 << 20)
    _answer(answers, READY)
    # Output of decoders does not belong into the log of a run.
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    # The pipe is closed when the parent ends.
    while select.select([tasks], [], [], _IDLE_SECONDS)[0]:
        try:
            function, items = pickle.load(tasks)
        except EOFError:
            break
        for item in items:
            allow_time()
            try:
                result = function(item)
            except MemoryError:
                _answer(answers, NO_MEMORY)
            except Exception as error:
                _answer(answers, RAISED, _as_pickled(error))
                break
            else:
                _answer(answers, DONE, result)
        _set_timers(0.0)
    # Exit without cleanup, which is not needed.
    os._exit(0)


def allow_time(size: int = 0, *, seconds: float = BASE_SECONDS) -> None:
    """Restart the time limit of this worker; does nothing outside a worker.

    Code that makes progress calls it repeatedly, as for each packet of a video.

    Args:
        size: The size of the file in bytes; adds a second per megabyte.
        seconds: The base limit, in CPU time.
    """
    if _parent is None:
        return
    if os.getppid() != _parent:
        # The run was killed, and its output path may be in use by another process.
        os._exit(1)
    _set_timers(seconds + size / 1e6 * _SECONDS_PER_MEGABYTE)


def _set_timers(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, seconds * _REAL_TIMES_PROCESSOR)


def _take_streams() -> tuple[BinaryIO, BinaryIO]:
    """Redirect stdin and stdout, so that libraries that print do not garble the answers."""
    tasks, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "r+b", buffering=0) as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(nothing.fileno(), 1)
    return tasks, answers


def _limit_process() -> None:
    # Ctrl+C reaches every process of the terminal; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in TIME_SIGNALS:
        # Ignored and blocked signals are inherited.
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    for kind, most in ((resource.RLIMIT_DATA, MOST_MEMORY), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(kind)
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(kind, (allowed, hard))
        except (OSError, ValueError):
            continue
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")
    except OSError:
        return


def _answer(answers: BinaryIO, kind: str, value: Any = None) -> None:
    try:
        pickle.dump((kind, value), answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()
    except BrokenPipeError:
        os._exit(1)


def _as_pickled(error: Exception) -> bytes:
    text = "".join(traceback.format_exception(error))
    try:
        return pickle.dumps((error, text))
    except Exception:
        return pickle.dumps((RuntimeError(repr(error)), text))
