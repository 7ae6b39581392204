"""Files that are filled window by window: the same as written at once, in the memory of a window, and whole or not at all."""

from __future__ import annotations

import tracemalloc

import h5netcdf
import numpy as np
import pytest
import xarray as xr

from vigie.core.errors import VigieError
from vigie.core.store import empty
from vigie.publish.netcdf import netcdf_stream, write_netcdf
from vigie.publish.zarr_store import zarr_stream

STREAMS = {"rain.nc": netcdf_stream, "rain.zarr": zarr_stream}
RAIN = {"units": "mm h-1", "long_name": "rain"}


def dataset(steps: int = 5) -> xr.Dataset:
    random = np.random.default_rng(0)
    rain = random.gamma(0.5, 2, (steps, 3, 4)).astype(np.float32)
    rain[0, 0] = np.nan
    days = np.datetime64("2020-01-01", "s") + np.arange(steps) * np.timedelta64(1, "D")
    bounds = np.stack([days, days + np.timedelta64(1, "D")], axis=-1)
    made = xr.Dataset(
        {"rain": (("time", "latitude", "longitude"), rain, RAIN), "time_bnds": (("time", "nv"), bounds)},
        coords={"time": ("time", days, {"bounds": "time_bnds"}), "latitude": [0.5, 1.5, 2.5], "longitude": np.arange(4.0)},
    )
    for name in ("time", "time_bnds"):
        made[name].encoding = {"units": "seconds since 1970-01-01", "dtype": "int64"}
    return made


def template(whole: xr.Dataset) -> xr.Dataset:
    rain = whole["rain"]
    return whole.assign(rain=empty(list(map(str, rain.dims)), rain.shape, "float32", rain.attrs))


def read(path):
    if path.suffix == ".nc":
        return xr.load_dataset(path, engine="h5netcdf")
    return xr.open_zarr(path, consolidated=False).load().reset_coords("time_bnds")


@pytest.mark.parametrize("name", STREAMS)
def test_what_is_streamed_is_what_is_written_at_once(tmp_path, name):
    whole = dataset()
    write_netcdf(tmp_path / "whole.nc", whole, "Rain", {})
    with STREAMS[name](tmp_path / name, template(whole), "Rain", {}) as write:
        for start in (2, 0, 4):
            window = {"time": slice(start, min(start + 2, 5))}
            write(window, whole[["rain"]].isel(window))
    found, expected = read(tmp_path / name), read(tmp_path / "whole.nc")
    xr.testing.assert_equal(found, expected)
    assert found.attrs == expected.attrs and found["rain"].attrs == RAIN
    assert found["time"].attrs["bounds"] == "time_bnds"


def test_bounds_are_counted_like_their_axis_and_are_no_coordinates(tmp_path):
    with netcdf_stream(tmp_path / "rain.nc", template(dataset()), "Rain", {}):
        pass
    with h5netcdf.File(tmp_path / "rain.nc") as file:
        assert file["time"].attrs["units"] == "seconds since 1970-01-01"
        assert file["time_bnds"].attrs.get("units", file["time"].attrs["units"]) == file["time"].attrs["units"]
        assert "time_bnds" not in str(file["rain"].attrs.get("coordinates", ""))
        assert np.isnan(file["rain"].attrs["_FillValue"])


def test_memory_holds_a_window_and_not_the_file(tmp_path):
    shape, window = (64, 512, 512), 1
    large = xr.Dataset({"rain": empty(("time", "y", "x"), shape, "float32", RAIN)})
    block = xr.Dataset({"rain": (("time", "y", "x"), np.zeros((window, *shape[1:]), np.float32))})
    tracemalloc.start()
    with netcdf_stream(tmp_path / "rain.nc", large, "Rain", {}) as write:
        for start in range(0, shape[0], window):
            write({"time": slice(start, start + window)}, block)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert large.nbytes == 64 * 2**20
    assert peak < 8 * 2**20


@pytest.mark.parametrize("name", STREAMS)
def test_work_that_is_cut_off_leaves_what_was_there(tmp_path, name):
    whole = dataset()
    with STREAMS[name](tmp_path / name, template(whole), "Rain", {}) as write:
        write({}, whole[["rain"]])
    with pytest.raises(RuntimeError), STREAMS[name](tmp_path / name, template(whole), "Rain", {}) as write:
        write({"time": slice(0, 1)}, 0 * whole[["rain"]].isel(time=slice(0, 1)))
        raise RuntimeError
    xr.testing.assert_equal(read(tmp_path / name)["rain"], whole["rain"])
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", STREAMS)
def test_undescribed_variables_are_refused_before_anything_is_written(tmp_path, name):
    bare = xr.Dataset({"rain": empty(("time",), (2,), "float32", {})})
    with pytest.raises(VigieError, match="'rain' is not described"), STREAMS[name](tmp_path / name, bare, "Rain", {}):
        pass
    assert not list(tmp_path.iterdir())
