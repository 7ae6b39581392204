"""Tiles cover an array once, halos stay inside, names are theirs alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vigie.core.errors import VigieError
from vigie.core.tiles import tiles, window_sizes


@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    keep=st.tuples(st.integers(1, 15), st.integers(1, 15)),
    halo=st.tuples(st.integers(0, 5), st.integers(0, 5)),
)
def test_kept_windows_cover_everything_once_and_halos_are_cut_at_the_edge(size, keep, halo):
    sizes, keeps, halos = (dict(zip(("y", "x"), v, strict=True)) for v in (size, keep, halo))
    seen, every = np.zeros(size, dtype=int), tiles(sizes, keeps, halos)
    for tile in every:
        seen[tile.keep["y"], tile.keep["x"]] += 1
        for dim in ("y", "x"):
            assert tile.read[dim].start == max(0, tile.keep[dim].start - halos[dim])
            assert tile.read[dim].stop == min(sizes[dim], tile.keep[dim].stop + halos[dim])
        numbers = np.arange(np.prod(size)).reshape(size)
        read = numbers[tile.read["y"], tile.read["x"]]
        assert np.array_equal(read[tile.inner["y"], tile.inner["x"]], numbers[tile.keep["y"], tile.keep["x"]])
    assert (seen == 1).all() and len({tile.name for tile in every}) == len(every)


def test_other_dimensions_and_bad_sizes():
    assert [window_sizes(t.keep) for t in tiles({"site": 3, "time": 7}, {"time": 4})] == [{"time": 4}, {"time": 3}]
    for keep, halo in (({"z": 1}, {}), ({"y": 0}, {}), ({"y": 1}, {"y": -1})):
        with pytest.raises(VigieError, match="cannot tile dimension"):
            tiles({"y": 5}, keep, halo)
