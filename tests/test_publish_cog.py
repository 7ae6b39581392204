"""COGs: read back by GDAL at awkward sizes, valid for rio-cogeo, small in memory, whole or not there."""

from __future__ import annotations

import errno
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioIOError

from vigie.core import grid as core_grid
from vigie.core import store
from vigie.core.errors import VigieError
from vigie.core.legend import Legend, LegendClass
from vigie.core.tiles import tiles
from vigie.publish.cog import write_cog, write_windows
from vigie.publish.raster import ProductBand, Raster, array_raster, class_raster, window_reader
from vigie.publish.statistics import BandStatistics

ICE = Legend(
    "ice", (LegendClass(0, "other", "#8c8c8c"), LegendClass(1, "clean ice", "#3fa9f5"), LegendClass(2, "debris", "#aa5500"))
)
RANDOM = np.random.default_rng(0)


def box(rows: int, columns: int) -> GeoBox:
    return GeoBox.from_bbox((500000, 3000000, 500000 + 10 * columns, 3000000 + 10 * rows), "EPSG:32645", resolution=10)


def reader(values):
    return lambda window: values[:, window["y"], window["x"]]


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (513, 511), (512, 512), (1030, 7)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_gdal_reads_back_what_was_written(tmp_path, shape, dtype):
    cogeo = pytest.importorskip("rio_cogeo")
    values = RANDOM.integers(0, 200, (2, *shape)).astype(dtype)
    nodata = math.nan if dtype == "float32" else 255
    if dtype == "float32":
        values[:, ::7] = np.nan
    bands = (ProductBand("a", "first", "K", 0.5, 100.0), ProductBand("b", "second", "m"))
    raster = Raster(box(*shape), dtype, bands, nodata, "average", tags={"VIGIE_MODEL": "abc"})
    path = tmp_path / "product.tif"
    write_cog(path, raster, reader(values))

    valid, errors, warnings = cogeo.cog_validate(path, strict=True)
    assert valid, (errors, warnings)
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(), values)
        assert file.transform.almost_equals(raster.grid.affine)
        assert file.crs.to_epsg() == 32645
        assert (file.descriptions, file.units, file.scales, file.offsets) == (("a", "b"), ("K", "m"), (0.5, 1.0), (100.0, 0.0))
        assert file.tags()["VIGIE_MODEL"] == "abc"
        assert file.profile["compress"] == "deflate"
        assert file.block_shapes == [(512, 512)] * 2
        assert file.tags(ns="IMAGE_STRUCTURE")["PREDICTOR"] == ("3" if dtype == "float32" else "2")
    assert [p.name for p in tmp_path.iterdir()] == ["product.tif"]


def test_a_class_map_keeps_its_colours_names_and_counts(tmp_path):
    codes = np.full((1, 1100, 1100), 255, np.uint8)
    codes[0, :600, :600] = 1
    codes[0, 600:, :500] = 2
    path = tmp_path / "class.tif"
    write_cog(path, class_raster(box(1100, 1100), ICE, "most probable class"), reader(codes))
    with rasterio.open(path) as file:
        assert file.colormap(1)[1] == (0x3F, 0xA9, 0xF5, 255)
        assert file.colormap(1)[255] == (0, 0, 0, 0)
        assert file.nodata == 255
        tags = file.tags(1)
        assert (tags["CLASS_1"], tags["CLASS_1_PIXELS"], tags["CLASS_0_PIXELS"]) == ("clean ice", str(600 * 600), "0")
        small = file.read(1, out_shape=(275, 275))
        assert file.overviews(1) == [2, 4]
        assert set(np.unique(small).tolist()) == {1, 2, 255}, "overviews of classes never invent a class"


def test_statistics_are_those_of_the_valid_values(tmp_path):
    values = RANDOM.normal(1e6, 3.0, (1, 700, 900)).astype(np.float64)
    values[0, 100:300] = np.nan
    path = tmp_path / "x.tif"
    write_cog(path, Raster(box(700, 900), "float64", (ProductBand("x", "x"),), math.nan, "average"), reader(values))
    with rasterio.open(path) as file:
        tags = file.tags(1)
    expected = {"MINIMUM": np.nanmin, "MAXIMUM": np.nanmax, "MEAN": np.nanmean, "STDDEV": np.nanstd}
    for name, oracle in expected.items():
        assert float(tags[f"STATISTICS_{name}"]) == pytest.approx(oracle(values), rel=1e-12)
    assert float(tags["STATISTICS_VALID_PERCENT"]) == pytest.approx(100 * 500 / 700, rel=1e-5)


@given(arrays(np.int16, st.integers(1, 60), elements=st.integers(-300, 300)), st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_statistics_of_parts_add_up_to_those_of_the_whole(values, cut):
    whole = BandStatistics.of(values, -1)
    parts = BandStatistics.of(values[:cut], -1) + BandStatistics.of(values[cut:], -1)
    assert (parts.pixels, parts.valid, parts.minimum, parts.maximum) == (
        whole.pixels,
        whole.valid,
        whole.minimum,
        whole.maximum,
    )
    assert parts.mean == pytest.approx(whole.mean, abs=1e-9)
    assert parts.squares == pytest.approx(whole.squares, rel=1e-9, abs=1e-6)


def test_a_prediction_store_is_published_as_it_is_stored(tmp_path):
    """Packed integers of a Zarr store go out unchanged, with their scale, and are read in windows."""
    box_ = core_grid.cover((0, 0, 7000, 9000), "EPSG:32632", 10.0)
    sizes = {"y": 900, "x": 700}
    template = xr.Dataset(coords={**core_grid.coordinates(box_), "class_name": ("class", np.array(["other", "clean ice"]))})
    packing = {"long_name": "class probability", "units": "1", "scale_factor": 1e-4, "add_offset": 0.0}
    template["probability"] = store.empty(("class", "y", "x"), (2, 900, 700), "uint16", packing)
    template["probability"].encoding["_FillValue"] = 65535
    store.create(tmp_path / "p.zarr", template, {"y": 512, "x": 512})
    stored = RANDOM.integers(0, 10001, (2, 900, 700)).astype(np.uint16)
    for tile in tiles(sizes, {"y": 512, "x": 512}):
        part = stored[:, tile.keep["y"], tile.keep["x"]]
        store.write(tmp_path / "p.zarr", tile, xr.Dataset({"probability": (("class", "y", "x"), part)}))
    dataset = xr.open_zarr(tmp_path / "p.zarr", mask_and_scale=False, consolidated=False, chunks=None)
    raster = array_raster(dataset["probability"], core_grid.grid_of(dataset))
    write_cog(tmp_path / "p.tif", raster, window_reader(dataset["probability"]))
    with rasterio.open(tmp_path / "p.tif") as file:
        np.testing.assert_array_equal(file.read(), stored)
        assert file.descriptions == ("probability_other", "probability_clean_ice")
        assert (file.scales, file.nodata) == ((1e-4, 1e-4), 65535)


@pytest.mark.parametrize(
    "bad",
    [
        lambda: Raster(box(2, 2), "float32", (ProductBand("a", "a"),), -9999, "average"),
        lambda: Raster(box(2, 2), "uint8", (ProductBand("a", "a"),), 256, "average"),
        lambda: Raster(box(2, 2), "complex64", (ProductBand("a", "a"),), None, "average"),
        lambda: Raster(box(2, 2), "uint8", (ProductBand("a", "a"),), 255, "average", ICE),
        lambda: Raster(GeoBox((2, 2), box(2, 2).affine, None), "uint8", (ProductBand("a", "a"),), 255, "average"),
        lambda: array_raster(xr.DataArray(np.zeros((3, 2)), dims=("y", "x")), box(2, 2)),
    ],
)
def test_rasters_that_would_mislead_are_refused(bad):
    with pytest.raises(VigieError):
        bad()


def test_a_window_of_the_wrong_type_or_code_leaves_nothing(tmp_path):
    raster = class_raster(box(600, 600), ICE, "class")
    with pytest.raises(VigieError, match="does not fit"):
        write_cog(tmp_path / "a.tif", raster, reader(np.zeros((1, 600, 600), np.int16)))
    with pytest.raises(VigieError, match=r"\[7\]"):
        write_cog(tmp_path / "a.tif", raster, reader(np.full((1, 600, 600), 7, np.uint8)))
    assert list(tmp_path.iterdir()) == []


def test_an_input_that_cannot_be_read_is_not_called_a_full_disk(tmp_path):
    def broken(window):
        raise RasterioIOError("read failed at block 3")

    with pytest.raises(VigieError, match="cannot be read"):
        write_cog(tmp_path / "a.tif", class_raster(box(20, 20), ICE, "class"), broken)


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), RasterioIOError("Write failed")])
def test_a_full_disk_leaves_the_old_product(tmp_path, monkeypatch, failure):
    path = tmp_path / "class.tif"
    path.write_text("old")

    def full(*_, **__):
        raise failure

    monkeypatch.setattr(rasterio.shutil, "copy", full)
    with pytest.raises(VigieError, match="room"):
        write_cog(path, class_raster(box(600, 600), ICE, "class"), reader(np.zeros((1, 600, 600), np.uint8)))
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("class.tif", "old")]


def test_a_truncated_cog_is_never_put_in_place(tmp_path, monkeypatch):
    """GDAL may close a file on a full disk without an error: what it leaves is shorter than its own directory says."""
    original = rasterio.shutil.copy

    def cut(source, target, **options):
        original(source, target, **options)
        with Path(target).open("r+b") as file:
            file.truncate(Path(target).stat().st_size - 300)

    monkeypatch.setattr(rasterio.shutil, "copy", cut)
    noise = RANDOM.integers(0, 3, (1, 600, 600)).astype(np.uint8)
    with pytest.raises(VigieError, match="room"):
        write_cog(tmp_path / "a.tif", class_raster(box(600, 600), ICE, "class"), reader(noise))
    assert list(tmp_path.iterdir()) == []


def test_windows_hold_whole_blocks_and_a_bounded_number_of_bytes():
    for bands in (1, 4, 40):
        raster = Raster(box(3000, 40000), "uint16", tuple(ProductBand(str(i), "b") for i in range(bands)), 65535, "average")
        windows = [tile.keep for tile in write_windows(raster)]
        sizes = [(w["x"].stop - w["x"].start) * (w["y"].stop - w["y"].start) * bands * 2 for w in windows]
        assert max(sizes) <= max(32 * 2**20, bands * 512 * 512 * 2)
        assert all(w["x"].start % 512 == 0 and w["y"].start % 512 == 0 for w in windows)


PEAK = """
import json, resource, sys
import numpy as np
from pathlib import Path
from odc.geo.geobox import GeoBox
from vigie.publish.cog import write_cog
from vigie.publish.raster import ProductBand, Raster
def make(n):
    grid = GeoBox((n, n), GeoBox.from_bbox((0, 0, 10, 10), "EPSG:32632", resolution=10).affine, "EPSG:32632")
    raster = Raster(grid, "uint16", (ProductBand("p", "p"),), 65535, "average")
    write_cog(Path(sys.argv[1]), raster, lambda w: np.zeros((1, w["y"].stop - w["y"].start, w["x"].stop - w["x"].start), "u2"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([make(1024), make(8000)]))
"""


def test_memory_does_not_grow_with_the_raster(tmp_path):
    """8000 x 8000 uint16 is 122 MiB; the writer's peak above that of a small raster stays below the raster itself."""
    command = [sys.executable, "-W", "ignore", "-c", PEAK, str(tmp_path / "a.tif")]
    small, large = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert large - small < 110
