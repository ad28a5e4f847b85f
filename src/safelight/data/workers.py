"""Decoding in several processes, with the same outcome as in one.

The processes are plain ones that talk over pipes. Those of `multiprocessing` would run the
user's main module again, which imports torch here and loops in a script without a main guard.
This module is imported by them, so it must not import torch.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

import numpy as np

from safelight.data.blocks import at_once
from safelight.data.decode import TOO_LITTLE_MEMORY, Batch, decode_batch
from safelight.data.look import Look, RejectedPicture, Size
from safelight.data.readers import READERS
from safelight.data.walk import Read
from safelight.errors import UserError

BATCH_FILES = 128
BATCH_BYTES = 2**20  # of decoded pixels: what is on its way stays within a core's cache
PACKET_BYTES = 16 * 2**20  # of files that are handed over: several packets are on their way
HANDED = "handed over"  # the kind of a job whose packets bring the files themselves
NO_MEMORY = 3  # the exit status of a process that has too little of it
FRAME = struct.Struct("<QQ")  # bytes of the JSON part, bytes of pixels or files
# The package is entered without its own __init__, whose public names need most of the libraries.
# An interrupt is the parent's, from the first line on: the imports take a good part of a second.
START = """
import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)
import sys, types
package = sys.modules["safelight"] = types.ModuleType("safelight")
package.__path__, sys.path[:] = [sys.argv[1]], sys.argv[2:]
from safelight.data.workers import serve
serve()
"""


@dataclass(frozen=True)
class Job:
    """What the decoding processes need to know."""

    kind: str  # a row of READERS, or HANDED
    root: str
    look: Look


@dataclass(frozen=True)
class Packet:
    """What is decoded in one go: keys for the reader, or files that are handed over themselves.

    Of these `data` holds all bytes, and a key is "FROM TO" within them, or a minus and the reason
    why the file can't be had.
    """

    keys: Sequence[str]
    data: bytes = b""


def decoded(job: Job, keys: Sequence[str], workers: int) -> Iterator[Batch]:
    """The batches of these files in their order; decoded here where `workers` is 1."""
    length = _length(job.look)
    packets = [Packet(keys[start : start + length]) for start in range(0, len(keys), length)]
    yield from _decoded(job, packets, min(workers, len(packets)))


def decoded_files(files: Iterable[bytes | str], look: Look, workers: int) -> Iterator[Batch]:
    """The same of files whose bytes come one after the other, or the reason why they can't."""
    yield from _decoded(Job(HANDED, "", look), _packets(files, _length(look)), workers)


def _length(look: Look) -> int:
    return at_once(BATCH_FILES, 3 * look.size[0] * look.size[1], BATCH_BYTES)


def _packets(files: Iterable[bytes | str], length: int) -> Iterator[Packet]:
    keys: list[str] = []
    data = bytearray()
    for file in files:
        if isinstance(file, str):
            keys.append(f"-{file}")
        else:
            keys.append(f"{len(data)} {len(data) + len(file)}")
            data += file
        if len(keys) == length or len(data) > PACKET_BYTES:
            yield Packet(keys, bytes(data))
            keys, data = [], bytearray()
    if keys:
        yield Packet(keys, bytes(data))


def _decoded(job: Job, packets: Iterable[Packet], workers: int) -> Iterator[Batch]:
    if workers > 1:
        yield from _in_processes(job, packets, workers)
    else:
        reader = _reader(job)
        for packet in packets:
            yield decode_batch(reader(packet.data), packet.keys, job.look)


def _reader(job: Job) -> Callable[[bytes], Read]:
    """What reads the keys of a packet with these bytes."""
    if job.kind == HANDED:
        return _within
    read = READERS[job.kind](job.root)
    return lambda data: read


def _within(data: bytes) -> Read:
    def read(key: str) -> bytes:
        if key.startswith("-"):
            raise RejectedPicture(key[1:])
        start, end = map(int, key.split())
        return data[start:end]

    return read


def _in_processes(job: Job, packets: Iterable[Packet], workers: int) -> Iterator[Batch]:
    with contextlib.ExitStack() as stack:
        idle: SimpleQueue[Worker] = SimpleQueue()
        threads = stack.enter_context(ThreadPoolExecutor(workers))
        for _ in range(workers):
            worker = Worker(job)
            stack.callback(worker.stop)
            idle.put(worker)
        stack.callback(threads.shutdown, wait=False, cancel_futures=True)

        def run(packet: Packet) -> Batch:
            worker = idle.get()
            try:
                return worker.decode(packet)
            finally:
                idle.put(worker)

        waiting: deque[Future[Batch]] = deque()
        for packet in packets:
            waiting.append(threads.submit(run, packet))
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

    def decode(self, packet: Packet) -> Batch:
        """Raises UserError where the process was killed, or has too little memory."""
        try:
            if not self._greeted:
                _send(self._requests, asdict(self._job))
                self._greeted = True
            _send(self._requests, list(packet.keys), packet.data)
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
        if status == NO_MEMORY:
            return UserError(TOO_LITTLE_MEMORY)
        if status < 0:
            return UserError(
                f"a process that decodes pictures was killed (signal {-status}), usually for "
                "lack of memory; close other programs or use --workers 1, and run it again"
            )
        return RuntimeError(f"a process that decodes pictures ended with status {status}")


def serve() -> None:
    """The decoding process: a job, then packets until the pipe is closed."""
    gc.freeze()  # what was imported stays: it need not be looked through for garbage
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    first = _receive(requests)
    if first is None:
        return
    told, _ = first
    look = Look(**told["look"] | {"size": tuple(told["look"]["size"])})
    reader = _reader(Job(told["kind"], told["root"], look))
    while (request := _receive(requests)) is not None:
        keys, data = request
        try:
            batch = decode_batch(reader(data), keys, look)
        except UserError:  # the parent says it
            sys.exit(NO_MEMORY)
        try:
            told = batch.pixels.shape, batch.found, batch.made
            _send(answers, told, batch.pixels.reshape(-1).data)
        except BrokenPipeError:  # the parent was killed
            os._exit(0)


def _send(pipe: IO[bytes], message: object, data: memoryview | bytes = b"") -> None:
    text = json.dumps(message).encode("ascii")
    pipe.write(FRAME.pack(len(text), len(data)) + text)
    pipe.write(data)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> tuple[Any, bytes] | None:
    """The next message; None at the end of the pipe."""
    head = pipe.read(FRAME.size)
    if len(head) < FRAME.size:
        return None
    length, size = FRAME.unpack(head)
    text, data = pipe.read(length), pipe.read(size)
    if len(text) < length or len(data) < size:
        return None
    return json.loads(text), data


def available() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
