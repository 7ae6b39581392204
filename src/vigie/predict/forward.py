"""Patches through the network: what comes out of a patch depends on that patch alone, to the last bit.

Convolutions round differently with the number of threads, the size of a batch and the place in it. So on a CPU every patch goes
through the network alone, in one thread, and as many at a time as torch has threads (which is faster, too: threads that share
one patch wait for each other); on a GPU all batches have one size.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from vigie.learn.model import Model
from vigie.predict.rows import Batch

K = TypeVar("K")
V = TypeVar("V")

_STARTING = threading.Lock()


@dataclass(frozen=True)
class Streams:
    """Threads of this process that run batches, shared by all jobs."""

    pool: ThreadPoolExecutor
    count: int

    def map(self, work: Callable[[K], V], keys: Iterable[K]) -> Iterator[V]:
        """Yield work(key) for every key, in order; each thread has one key in work and one that waits.

        Examples
        --------
        >>> list(Streams(ThreadPoolExecutor(2), 2).map(abs, range(-3, 1)))
        [3, 2, 1, 0]
        """
        waiting: deque[Future[V]] = deque()
        try:
            for key in keys:
                waiting.append(self.pool.submit(work, key))
                if len(waiting) > 2 * self.count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def streams_of(model: Model) -> Streams:
    """Give the streams for a model: those of the processor on a CPU, one on a GPU."""
    return processor_streams() if on_cpu(model) else _started(1)


def processor_streams() -> Streams:
    """Give as many streams as torch has threads (OMP_NUM_THREADS)."""
    return _started(torch.get_num_threads())


def _started(count: int) -> Streams:
    with _STARTING:
        return _streams(count)


@cache
def _streams(count: int) -> Streams:
    """Start threads in which torch works with one thread each; elsewhere it goes on as it did."""
    started = threading.Barrier(count + 1)

    def begin() -> None:
        # Asked first, because a thread that has never asked takes the number of all others when it begins to work.
        torch.get_num_threads()
        torch.set_num_threads(1)
        started.wait()

    here = torch.get_num_threads()
    pool = ThreadPoolExecutor(count, "patches", initializer=begin)
    for _ in range(count):
        pool.submit(int)
    started.wait()
    # What a thread sets for itself is also what threads that start later begin with.
    torch.set_num_threads(here)
    return Streams(pool, count)


def on_cpu(model: Model) -> bool:
    """Say whether a model runs on a CPU."""
    return model.device.type == "cpu"


def batch_size(model: Model, columns: int, most: int) -> int:
    """How many patches make a batch, the same for all of a scene, however it is cut into panels.

    Parameters
    ----------
    columns: patches side by side in the whole scene.
    most: patches that a GPU takes at once.
    """
    return 1 if on_cpu(model) else even_batch(columns, most)


def even_batch(columns: int, most: int) -> int:
    """Cut a row of patches into batches of one size with as little filling as can be.

    Examples
    --------
    >>> even_batch(53, 4), even_batch(5, 4), even_batch(1, 4)
    (4, 3, 1)
    """
    return -(-columns // -(-columns // most))


def run(model: Model, batch: Batch) -> tuple[Batch, NDArray[np.float32]]:
    """Run the network over a batch: the batch, and the estimate (n, layers, y, x) of its patches.

    A batch without data is not looked at: its values are 0.
    """
    count, height, width = batch.shape
    if batch.empty:
        return batch, np.zeros((count, model.head.layers, height, width), dtype=np.float32)
    return batch, model.estimate(*batch.inputs, batch.row.bands, batch.row.sensor)[:count].cpu().numpy()
