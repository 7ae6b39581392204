"""NetCDF: what CF asks for is there, numbers survive, large arrays stream, a full disk leaves nothing."""

from __future__ import annotations

import errno
import json

import h5netcdf
import numpy as np
import pytest
import xarray as xr

from vigie.core import grid as core_grid
from vigie.core import store
from vigie.core.errors import VigieError
from vigie.core.legend import Legend, LegendClass
from vigie.publish.netcdf import write_netcdf

ICE = Legend("ice", (LegendClass(0, "other", "#8c8c8c"), LegendClass(1, "clean ice", "#3fa9f5")))
RECORD = {
    "created": "2026-01-02T00:00:00Z",
    "software": {"name": "vigie", "version": "0.1"},
    "licence": "CC-BY-4.0",
    "inputs": [{"id": "a"}],
}


def product(rows: int, columns: int) -> xr.Dataset:
    random = np.random.default_rng(0)
    grid = core_grid.cover((500000, 3000000, 500000 + 10 * columns, 3000000 + 10 * rows), "EPSG:32645", 10.0)
    dataset = xr.Dataset(coords=core_grid.coordinates(grid))
    codes = random.integers(0, 2, (rows, columns)).astype(np.uint8)
    dataset["class"] = (("y", "x"), codes, {"long_name": "class", **ICE.attributes, "_FillValue": np.uint8(ICE.unknown)})
    temperature = random.normal(270, 5, (rows, columns)).astype(np.float32)
    temperature[0, 0] = np.nan
    attributes = {"units": "K", "standard_name": "surface_temperature"}
    dataset["temperature"] = (("y", "x"), temperature, attributes)
    packed = random.integers(0, 10001, (2, rows, columns)).astype(np.uint16)
    packed[:, 0, 0] = 65535
    dataset["probability"] = (
        ("class_index", "y", "x"),
        packed,
        {"units": "1", "long_name": "probability", "scale_factor": 1e-4, "add_offset": 0.0, "_FillValue": 65535},
    )
    return dataset.assign_coords(class_name=("class_index", list(ICE.names)))


@pytest.mark.parametrize("shape", [(1, 1), (513, 511)])
def test_numbers_and_grid_survive(tmp_path, shape):
    dataset = product(*shape)
    write_netcdf(tmp_path / "p.nc", dataset, "Glaciers", RECORD)
    raw = xr.load_dataset(tmp_path / "p.nc", engine="h5netcdf", mask_and_scale=False)
    for name in ("class", "temperature", "probability"):
        np.testing.assert_array_equal(raw[name].values, dataset[name].values)
        assert raw[name].dtype == dataset[name].dtype
    decoded = xr.load_dataset(tmp_path / "p.nc", engine="h5netcdf")
    assert np.isnan(decoded["probability"][:, 0, 0]).all()
    if shape != (1, 1):
        assert float(decoded["probability"].max()) == pytest.approx(1.0, abs=1e-3)
    assert core_grid.grid_of(decoded) == core_grid.grid_of(dataset)


def test_the_file_says_what_cf_asks_for(tmp_path):
    write_netcdf(tmp_path / "p.nc", product(30, 20), "Glaciers", RECORD)
    with h5netcdf.File(tmp_path / "p.nc") as file:
        assert file.attrs["Conventions"] == "CF-1.11"
        assert {"title", "source", "history", "license"} <= set(file.attrs)
        assert json.loads(file.attrs["provenance"]) == RECORD
        assert file["x"].attrs["standard_name"] == "projection_x_coordinate"
        assert file["y"].attrs["units"] == "m"
        assert "_FillValue" not in file["x"].attrs, "coordinates have no missing values"
        classes = file["class"]
        assert classes.attrs["flag_meanings"] == "other clean_ice"
        assert classes.attrs["flag_values"].dtype == classes.attrs["_FillValue"].dtype == classes.dtype == np.uint8
        for name in ("class", "temperature", "probability"):
            assert file[name].attrs["grid_mapping"] == "spatial_ref"
            assert "spatial_ref" not in str(file[name].attrs.get("coordinates", ""))
        assert file["spatial_ref"].attrs["grid_mapping_name"] == "transverse_mercator"
        assert "crs_wkt" in file["spatial_ref"].attrs
        assert np.isnan(file["temperature"].attrs["_FillValue"])
        assert file["probability"].chunks == (1, 30, 20)


def test_a_lazy_store_streams_and_keeps_its_packing(tmp_path):
    dataset = product(2100, 2100)[["probability"]].drop_vars("class_name")
    dataset["probability"][:, 100:] = 7
    fill = dataset["probability"].attrs.pop("_FillValue")
    dataset["probability"].encoding["_FillValue"] = fill
    dataset.to_zarr(tmp_path / "p.zarr", consolidated=False, zarr_format=3)
    for opened, name in ((False, "raw.nc"), (True, "decoded.nc")):
        lazy = xr.open_zarr(tmp_path / "p.zarr", consolidated=False, chunks=None, mask_and_scale=opened)
        write_netcdf(tmp_path / name, lazy, "Glaciers", RECORD)
        raw = xr.load_dataset(tmp_path / name, engine="h5netcdf", mask_and_scale=False)
        assert raw["probability"].dtype == np.uint16
        np.testing.assert_array_equal(raw["probability"].values, dataset["probability"].values)


def test_a_table_of_scores_needs_no_grid(tmp_path):
    scores = xr.Dataset({"iou": ("class", np.array([0.5, np.nan]), {"units": "1", "long_name": "intersection over union"})})
    write_netcdf(tmp_path / "s.nc", scores, "Scores", {})
    xr.testing.assert_equal(xr.load_dataset(tmp_path / "s.nc", engine="h5netcdf"), scores)


def test_undescribed_variables_are_refused(tmp_path):
    with pytest.raises(VigieError, match="'area' is not described"):
        write_netcdf(tmp_path / "a.nc", xr.Dataset({"area": ("t", [1.0], {"long_name": "area"})}), "A", {})


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", full)
    with pytest.raises(VigieError, match="room"):
        write_netcdf(tmp_path / "p.nc", product(3, 3), "Glaciers", RECORD)
    assert list(tmp_path.iterdir()) == []


def test_what_is_given_is_not_changed(tmp_path):
    dataset = product(4, 4)
    before = dataset.copy(deep=True)
    write_netcdf(tmp_path / "p.nc", dataset, "Glaciers", RECORD)
    xr.testing.assert_identical(dataset, before)


def test_fill_values_agree_with_the_store():
    assert store.fill_value(np.dtype("uint8")) == ICE.unknown
