"""Stores: templates, tiles, markers, packed variables, full disks."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr.storage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zarr.codecs import ZstdCodec

from vigie.core import store
from vigie.core.errors import VigieError
from vigie.core.tiles import Tile, tiles

SIZES = {"y": 50, "x": 70}


def template() -> xr.Dataset:
    node = xr.Dataset(
        {
            "value": store.empty(("band", "y", "x"), (2, 50, 70), "float32", {"units": "1"}),
            "packed": store.empty(("y", "x"), (50, 70), "uint16", {"scale_factor": 1e-4, "add_offset": 0.0}),
        },
        coords={"band": ("band", np.array(["a", "bc"])), "gsd_m": ("band", np.array([10.0, np.nan]))},
        attrs={"scene": "s"},
    )
    node["packed"].encoding["_FillValue"] = store.fill_value(np.dtype("uint16"))
    return node


def numbers(tile: Tile) -> xr.Dataset:
    y, x = (np.arange(tile.keep[d].start, tile.keep[d].stop) for d in ("y", "x"))
    value = np.stack([np.add.outer(y, x), np.multiply.outer(y, x)]).astype(np.float32)
    value[:, y % 7 == 0] = np.nan
    return xr.Dataset({"value": (("band", "y", "x"), value), "packed": (("y", "x"), (value[1] == 12).astype(np.uint16) * 5000)})


EVERY = tiles(SIZES, {"y": 20, "x": 40})
WHOLE = Tile({"y": slice(0, 50), "x": slice(0, 70)}, {"y": slice(0, 50), "x": slice(0, 70)})


def filled(path: Path, order, group: str = "grid/one") -> Path:
    store.create(path, template(), {"y": 10, "x": 20}, group)
    for tile in order:
        store.write(path, tile, numbers(tile), group)
    return path


def digest(path: Path) -> dict[str, str]:
    return {
        str(f.relative_to(path)): hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(path.rglob("*")) if f.is_file()
    }


def test_what_is_written_is_what_is_read(tmp_path):
    path = filled(tmp_path / "a.zarr", EVERY)
    with xr.open_zarr(path, group="grid/one", consolidated=False, chunks=None) as node:
        expected = numbers(WHOLE)
        assert np.array_equal(node["value"], expected["value"], equal_nan=True)
        assert np.array_equal(node["packed"], expected["packed"].values * 1e-4)
        assert node["band"].values.tolist() == ["a", "bc"] and node["gsd_m"].values[0] == 10
        assert node.attrs["scene"] == "s" and node["value"].attrs["units"] == "1"
    with xr.open_datatree(path, engine="zarr", consolidated=False) as tree:
        assert set(tree.groups) == {"/", "/grid", "/grid/one"}


def test_a_variable_may_choose_its_compression(tmp_path):
    node = template()
    node["value"].encoding["compressors"] = (ZstdCodec(level=-1),)
    store.create(tmp_path / "a.zarr", node, {"y": 10, "x": 20})
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert group["value"].compressors == (ZstdCodec(level=-1),) != group["packed"].compressors


def test_pixels_that_nobody_wrote_are_missing(tmp_path):
    path = filled(tmp_path / "a.zarr", EVERY[:1])
    with xr.open_zarr(path, group="grid/one", consolidated=False, chunks=None) as node:
        assert np.isnan(node["value"].values[:, 20:]).all() and np.isnan(node["packed"].values[20:]).all()


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(EVERY), again=st.sampled_from(EVERY))
def test_order_and_repetition_leave_the_same_bytes(tmp_path_factory, order, again):
    folder = tmp_path_factory.mktemp("order")
    assert digest(filled(folder / "a.zarr", [*order, again])) == digest(filled(folder / "b.zarr", EVERY))


def test_only_marked_tiles_are_done(tmp_path):
    path = filled(tmp_path / "a.zarr", EVERY[:3])
    assert store.pending(path, EVERY, "grid/one") == EVERY[3:]
    assert store.pending(path, EVERY, "grid/two") == EVERY
    store.mark(path, "note", "grid/one", {"n": 3})
    assert store.marked(path, "note", "grid/one") and store.marker(path, "note", "grid/one") == {"n": 3}
    store.create(path, template(), {"y": 10, "x": 20}, "grid/one")
    assert store.pending(path, EVERY, "grid/one") == EVERY
    with xr.open_zarr(path, group="grid/one", consolidated=False, chunks=None) as node:
        assert np.isnan(node["value"].values).all()


def test_tiles_that_would_spoil_a_neighbour_or_be_cast_are_refused(tmp_path):
    path = filled(tmp_path / "a.zarr", [])
    part = {"y": slice(5, 15), "x": slice(0, 20)}
    with pytest.raises(VigieError, match="does not fit variable 'value'"):
        store.write(path, Tile(part, part), numbers(Tile(part, part)), "grid/one")
    with pytest.raises(VigieError, match="float64"):
        store.write(path, EVERY[0], numbers(EVERY[0]).astype(np.float64), "grid/one")
    with pytest.raises(VigieError, match="does not fit"):
        store.write(path, EVERY[0], numbers(EVERY[1]).isel(x=slice(0, 10)), "grid/one")
    assert store.pending(path, EVERY, "grid/one") == EVERY


@pytest.mark.parametrize(("code", "word"), [(errno.ENOSPC, "No space left"), (errno.EROFS, "Read-only")])
def test_a_full_disk_teaches_and_the_run_goes_on(tmp_path, monkeypatch, code, word):
    path = filled(tmp_path / "a.zarr", EVERY[:2])

    async def full(*_, **__):
        raise OSError(code, __import__("os").strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(zarr.storage.LocalStore, "set", full)
        with pytest.raises(VigieError, match=rf"cannot write .*{word}.*free space"):
            store.write(path, EVERY[2], numbers(EVERY[2]), "grid/one")
    assert store.pending(path, EVERY, "grid/one") == EVERY[2:]
    for tile in store.pending(path, EVERY, "grid/one"):
        store.write(path, tile, numbers(tile), "grid/one")
    assert digest(path) == digest(filled(tmp_path / "b.zarr", EVERY))


def test_files_and_folders_appear_whole_or_not_at_all(tmp_path):
    store.write_text(tmp_path / "a.txt", "old")
    with pytest.raises(RuntimeError), store.whole_file(tmp_path / "a.txt") as draft:
        draft.write_text("half")
        raise RuntimeError
    with pytest.raises(RuntimeError), store.whole_folder(tmp_path / "model") as draft:
        (draft / "weights").write_text("half")
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"] and (tmp_path / "a.txt").read_text() == "old"
    for text in ("one", "two"):
        with store.whole_folder(tmp_path / "model") as draft:
            (draft / "weights").write_text(text)
    assert (tmp_path / "model" / "weights").read_text() == "two" and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("whole", [store.whole_file, store.whole_folder])
def test_a_place_that_takes_no_folder_is_told(tmp_path, whole):
    (tmp_path / "notes.txt").write_text("my own")
    told = r"cannot make the folder .*notes.txt.*found Not a directory.*choose another folder with --out"
    with pytest.raises(VigieError, match=told), whole(tmp_path / "notes.txt" / "inside" / "a"):
        pass


def test_other_errors_are_not_dressed_up(tmp_path):
    with pytest.raises(FileNotFoundError), store.disk(tmp_path):
        (tmp_path / "none").read_text()
