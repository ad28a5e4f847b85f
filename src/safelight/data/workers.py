"""Decoding in several processes, with the same outcome as in one.

The processes are plain ones that talk over pipes. Those of `multiprocessing` would run the
user's main module again, which imports torch here and loops in a script without a main guard.
This module is imported by them, so it must not import torch.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

import numpy as np

from safelight.data.decode import Batch, decode_batch
from safelight.data.look import Look, Size
from safelight.data.walk import READERS
from safelight.errors import UserError

BATCH_FILES = 128
BATCH_BYTES = 4 * 2**20  # of decoded pixels: what is on its way in the pipes stays small
FRAME = struct.Struct("<QQ")  # bytes of the JSON part, bytes of pixels
# The package is entered without its own __init__, whose public names need most of the libraries.
START = """
import sys, types
package = sys.modules["safelight"] = types.ModuleType("safelight")
package.__path__, sys.path[:] = [sys.argv[1]], sys.argv[2:]
from safelight.data.workers import serve
serve()
"""


@dataclass(frozen=True)
class Job:
    """What the decoding processes need to know."""

    kind: str  # a row of READERS
    root: str
    look: Look


def decoded(job: Job, keys: Sequence[str], workers: int) -> Iterator[Batch]:
    """The batches of these files in their order; decoded here where `workers` is 1."""
    length = max(1, min(BATCH_FILES, BATCH_BYTES // (3 * job.look.size[0] * job.look.size[1])))
    parts = [keys[start : start + length] for start in range(0, len(keys), length)]
    workers = min(workers, len(parts))
    if workers > 1:
        yield from _in_processes(job, parts, workers)
    else:
        read = READERS[job.kind](job.root)
        for part in parts:
            yield decode_batch(read, part, job.look)


def _in_processes(job: Job, parts: Iterable[Sequence[str]], workers: int) -> Iterator[Batch]:
    with contextlib.ExitStack() as stack:
        idle: SimpleQueue[Worker] = SimpleQueue()
        threads = stack.enter_context(ThreadPoolExecutor(workers))
        for _ in range(workers):
            worker = Worker(job)
            stack.callback(worker.stop)
            idle.put(worker)
        stack.callback(threads.shutdown, wait=False, cancel_futures=True)

        def run(part: Sequence[str]) -> Batch:
            worker = idle.get()
            try:
                return worker.decode(part)
            finally:
                idle.put(worker)

        waiting: deque[Future[Batch]] = deque()
        for part in parts:
            waiting.append(threads.submit(run, part))
            if len(waiting) > 3 * workers:  # bounds what is decoded ahead of being written
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class Worker:
    """One decoding process."""

    def __init__(self, job: Job) -> None:
        home = str(Path(__file__).parents[1])
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", START, home, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # One picture at a time needs no threads, whose stacks would only take memory.
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._job = job
        self._greeted = False

    def decode(self, keys: Sequence[str]) -> Batch:
        """Raises UserError where the process was killed."""
        try:
            if not self._greeted:
                _send(self._requests, asdict(self._job))
                self._greeted = True
            _send(self._requests, list(keys))
            answer = _receive(self._answers)
        except OSError:
            answer = None
        if answer is None:
            raise self._died()
        (shape, sizes, made), pixels = answer
        found: list[Size | str] = [size if isinstance(size, str) else tuple(size) for size in sizes]
        return Batch(np.frombuffer(pixels, np.uint8).reshape(shape), found, made)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            self._requests.close()
        self._answers.close()

    def _died(self) -> Exception:
        status = self._process.wait()
        if status < 0:
            return UserError(
                f"a process that decodes pictures was killed (signal {-status}), usually for "
                "lack of memory; close other programs or use --workers 1, and run it again"
            )
        return RuntimeError(f"a process that decodes pictures ended with status {status}")


def serve() -> None:
    """The decoding process: a job, then lists of keys until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted, and closes the pipe
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    first = _receive(requests)
    if first is None:
        return
    told, _ = first
    read = READERS[told["kind"]](told["root"])
    look = Look(**told["look"] | {"size": tuple(told["look"]["size"])})
    while (request := _receive(requests)) is not None:
        batch = decode_batch(read, request[0], look)
        try:
            told = batch.pixels.shape, batch.found, batch.made
            _send(answers, told, batch.pixels.reshape(-1).data)
        except BrokenPipeError:  # the parent was killed
            os._exit(0)


def _send(pipe: IO[bytes], message: object, pixels: memoryview | bytes = b"") -> None:
    text = json.dumps(message).encode("ascii")
    pipe.write(FRAME.pack(len(text), len(pixels)) + text)
    pipe.write(pixels)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> tuple[Any, bytes] | None:
    """The next message; None at the end of the pipe."""
    head = pipe.read(FRAME.size)
    if len(head) < FRAME.size:
        return None
    length, size = FRAME.unpack(head)
    text, pixels = pipe.read(length), pipe.read(size)
    if len(text) < length or len(pixels) < size:
        return None
    return json.loads(text), pixels


def available() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
