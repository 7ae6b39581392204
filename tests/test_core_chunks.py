"""Windows through kept chunks are those of the array, whatever is kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from vigie.core.chunks import Chunks

VALUES = np.arange(7 * 11 * 5, dtype=np.int32).reshape(7, 11, 5)


def part(size):
    numbers = st.integers(0, size - 1)
    return numbers | st.builds(lambda a, b: slice(min(a, b), max(a, b) + 1), numbers, numbers) | st.just(slice(None))


@settings(max_examples=60, deadline=None)
@given(st.tuples(part(7), part(11), part(5)), st.sampled_from([1, 200, 10**9]))
def test_windows_are_those_of_the_array(window, room):
    chunks = Chunks(zarr.array(VALUES, chunks=(3, 4, 5)), room)
    for _ in range(2):
        np.testing.assert_array_equal(chunks[window], VALUES[window])


def test_what_is_kept_is_bounded_and_saves_reading():
    array = zarr.array(VALUES, chunks=(1, 11, 5))
    chunks = Chunks(array, room_bytes=3 * VALUES[0].nbytes)
    for number in (0, 1, 2, 3, 3, 0):
        chunks[number, slice(None), slice(None)]
    assert list(chunks._kept) == [(2, 0, 0), (3, 0, 0), (0, 0, 0)]
    kept = chunks.chunk((3, 0, 0))
    assert chunks.chunk((3, 0, 0)) is kept


def test_threads_share_chunks():
    chunks = Chunks(zarr.array(VALUES, chunks=(2, 4, 5)), room_bytes=1)
    with ThreadPoolExecutor(4) as pool:
        sums = list(pool.map(lambda n: int(chunks[n % 7, slice(None), slice(None)].sum()), range(70)))
    assert sums == [int(VALUES[n % 7].sum()) for n in range(70)]
