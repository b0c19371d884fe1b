"""A process that decodes, and that may die: what it may use, and the loop of its work.

`workers` starts it, sends it a function with items, and gets an answer for each. Decoders are C
code that reads what strangers wrote, so whatever goes wrong here must not matter elsewhere:

- memory: `MOST_MEMORY`, above which allocating fails (on Linux; other systems do not enforce it).
  Under pressure the system ends such a process before any other.
- time: `BASE_SECONDS` for each item, and more for large files, see `allow_time`. It is the
  processor's time, because a busy machine must not change a verdict; a decoder that waits for
  something that never comes is ended after ten times as long. The system ends the process, in the
  middle of C code if need be.
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
"""How many bytes a worker may allocate: enough to measure a picture of 200 megapixels."""

BASE_SECONDS = 60.0
"""Of processor time for one picture, or from one packet of a video to the next."""

_SECONDS_PER_MEGABYTE = 1.0
_REAL_TIMES_PROCESSOR = 10
_IDLE_SECONDS = 60.0

READY, DONE, RAISED, NO_MEMORY = "ready", "done", "raised", "no memory"
"""The kinds of answers: before the first task, then one for each item."""

TIME_SIGNALS = (signal.SIGPROF, signal.SIGALRM)
"""By these a worker dies whose time is over."""

# Who started this process, where it is a worker.
_parent: int | None = None


def main() -> None:
    """Answer tasks from standard input on standard output, until that ends or nothing comes."""
    global _parent
    _parent = os.getppid()
    tasks, answers = _take_streams()
    _limit_process()
    # What Pillow warns of is either a reason in the table or no matter here.
    warnings.simplefilter("ignore")
    # Freeing a large block once makes glibc keep memory of up to that size for later, where it
    # would return the pixels of each image to the system, which costs a third of all time
    # (mallopt(3), M_MMAP_THRESHOLD). Other allocators do not mind.
    bytearray(31 << 20)
    _answer(answers, READY)
    # Decoders print whatever they like, which is no matter to who reads the log of a run.
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    # The other end is closed when the process that started this one ends.
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
    # Nothing here is worth tidying up.
    os._exit(0)


def allow_time(size: int = 0, *, seconds: float = BASE_SECONDS) -> None:
    """Begin to count anew the time that decoding may take; of no effect outside a worker.

    Called again by what makes progress, like a video that is decoded packet by packet.

    Args:
        size: Of the file that is decoded next, in bytes: a second is added for each megabyte.
        seconds: Of processor time, for a file of no size.
    """
    if _parent is None:
        return
    if os.getppid() != _parent:
        # The run was killed, and what it was to write may be somebody else's by now.
        os._exit(1)
    _set_timers(seconds + size / 1e6 * _SECONDS_PER_MEGABYTE)


def _set_timers(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, seconds * _REAL_TIMES_PROCESSOR)


def _take_streams() -> tuple[BinaryIO, BinaryIO]:
    """Keep both streams to this loop: a library that prints would garble the answers."""
    tasks, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "r+b", buffering=0) as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(nothing.fileno(), 1)
    return tasks, answers


def _limit_process() -> None:
    # Ctrl+C reaches every process of a terminal; the one that started this one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in TIME_SIGNALS:
        # Ignored or blocked signals would be so after `exec`, too.
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
