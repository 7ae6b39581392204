"""Windows of a Zarr array through its chunks, which are kept decompressed as long as there is room.

Training reads the same days again and again, a crop at a time: each read of a store costs milliseconds and a whole chunk.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import zarr

ROOM_BYTES = 256 * 2**20
"""Of the chunks that are kept of one array."""

Part = int | slice


class Chunks:
    """Read windows of an array; threads may share it.

    Parameters
    ----------
    array
        What is read.
    room_bytes
        Chunks that were used last are kept up to this size; at least one is.

    Examples
    --------
    >>> import zarr
    >>> array = zarr.array(np.arange(12).reshape(3, 4), chunks=(2, 3))
    >>> chunks = Chunks(array)
    >>> chunks[1, 1:4].tolist(), chunks[slice(None), 3].tolist()
    ([5, 6, 7], [3, 7, 11])
    """

    def __init__(self, array: zarr.Array[Any], room_bytes: int = ROOM_BYTES) -> None:
        self.array, self.room_bytes = array, room_bytes
        self._kept: OrderedDict[tuple[int, ...], NDArray[Any]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __getitem__(self, window: tuple[Part, ...]) -> NDArray[Any]:
        """Read one part a dimension: a number, which drops the dimension, or a slice without a step."""
        bounds = [
            (part, part + 1) if isinstance(part, int) else part.indices(size)[:2]
            for part, size in zip(window, self.array.shape, strict=True)
        ]
        found = np.empty([stop - start for start, stop in bounds], dtype=self.array.dtype)
        touched = [range(a // n, -(-b // n)) for (a, b), n in zip(bounds, self.array.chunks, strict=True)]
        for at in product(*touched):
            corner = [number * n for number, n in zip(at, self.array.chunks, strict=True)]
            block = self.chunk(at)
            ends = [c + n for c, n in zip(corner, block.shape, strict=True)]
            inside = [(max(a, c), min(b, e)) for (a, b), c, e in zip(bounds, corner, ends, strict=True)]
            there = tuple(slice(a - first, b - first) for (a, b), (first, _) in zip(inside, bounds, strict=True))
            here = tuple(slice(a - c, b - c) for (a, b), c in zip(inside, corner, strict=True))
            found[there] = block[here]
        return found[tuple(0 if isinstance(part, int) else slice(None) for part in window)]

    def chunk(self, at: tuple[int, ...]) -> NDArray[Any]:
        """Give a whole chunk, decompressed."""
        with self._lock:
            if at in self._kept:
                self._kept.move_to_end(at)
                return self._kept[at]
        block = np.asarray(self.array.blocks[at])
        with self._lock:
            if at not in self._kept:
                self._kept[at] = block
                self._bytes += block.nbytes
            while self._bytes > self.room_bytes and len(self._kept) > 1:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= dropped.nbytes
        return block
