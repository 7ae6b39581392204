"""Class maps in time: a surge survives, a one-year glitch does not, snow is seen through, tiles do not matter."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from vigie.apps.glaciers.history.classes import (
    ClassesJob,
    chain,
    consistent_classes,
    snow_chance,
    snow_confusion,
    stream_classes,
)
from vigie.core.engine import Serial, Threads
from vigie.core.errors import VigieError
from vigie.core.legend import Legend, LegendClass
from vigie.core.tiles import tiles

LEGEND = Legend(
    "glacier",
    (
        LegendClass(0, "other", "#8c8c8c"),
        LegendClass(1, "clean ice", "#3fa9f5"),
        LegendClass(2, "debris", "#aa5500"),
        LegendClass(3, "lake", "#000080"),
    ),
)
MODEL = chain(
    LEGEND,
    {"other": 150, "clean ice": 40, "debris": 40, "lake": 40},
    {"other": 0.6, "clean ice": 0.25, "debris": 0.1, "lake": 0.05},
)


def observed(truth: np.ndarray, years: list[float], sure: float = 0.9) -> xr.DataArray:
    """Class probabilities (time, class, y, x) of maps (time, y, x): `sure` for the mapped class, the rest shared."""
    spread = np.full((len(truth), 4, *truth.shape[1:]), (1 - sure) / 3)
    np.put_along_axis(spread, truth[:, None], sure, axis=1)
    times = np.datetime64("1990-08-15", "ns") + (np.array(years) * 365.2425 * 86400e9).astype("timedelta64[ns]")
    return xr.DataArray(spread, dims=("time", "class", "y", "x"), coords={"time": times})


def test_a_surge_survives_and_a_one_year_glitch_does_not():
    years = [0, 1, 2, 4, 5, 6.5, 7, 8, 10, 11]
    truth = np.zeros((10, 1, 40), dtype=int)
    truth[:, :, :15] = 1
    truth[4:, :, 15:30] = 1  # the tongue advances half its length within a year and stays for six
    truth[8:, :, 25:30] = 0  # and melts back
    seen = observed(truth, years)
    glitch = truth.copy()
    glitch[2, :, :10] = 3
    glitch[6, :, 32:] = 1
    result = consistent_classes(observed(glitch, years), MODEL)
    np.testing.assert_array_equal(result["map"].values, truth)
    np.testing.assert_array_equal(consistent_classes(seen, MODEL)["map"].values, truth)
    np.testing.assert_array_equal(result["revised"].values, glitch != truth)
    assert result["changed"].values.sum() == 15 + 5
    assert (result["confidence"].values[2, :, :10] < result["confidence"].values[1, :, :10]).all()


def test_advance_and_retreat_are_the_same_to_the_model():
    truth = np.array([0, 0, 0, 1, 1, 1])[:, None, None]
    even = chain(LEGEND, dict.fromkeys(LEGEND.names, 50.0), dict.fromkeys(LEGEND.names, 0.25))
    forth = consistent_classes(observed(truth, [0, 1, 2, 3, 4, 5]), even)
    back = consistent_classes(observed(truth[::-1], [0, 1, 2, 3, 4, 5]), even)
    np.testing.assert_allclose(forth["probability"].values, back["probability"].values[::-1], atol=1e-6)


def test_never_seen_is_unknown_and_cloud_is_filled():
    truth = np.ones((4, 1, 2), dtype=int)
    seen = observed(truth, [0, 1, 2, 3])
    seen[:, :, 0, 0] = np.nan
    seen[2, :, 0, 1] = np.nan
    result = consistent_classes(seen, MODEL)
    assert (result["map"].values[:, 0, 0] == LEGEND.unknown).all() and (result["map"].values[:, 0, 1] == 1).all()
    assert not result["revised"].values.any() and not result["changed"].values.any()
    np.testing.assert_allclose(result["probability"].sum("class"), 1, atol=1e-6)


def test_low_confidence_dates_are_outvoted():
    truth = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1])
    seen = observed(truth[:, None, None], list(range(12)))
    np.testing.assert_array_equal(consistent_classes(seen, MODEL)["map"].values.ravel(), truth)
    clear = xr.DataArray(np.where(truth, 0.95, 0.2)[:, None, None], dims=("time", "y", "x"))
    assert (consistent_classes(seen, MODEL, clear)["map"].values == 1).all()


def test_seasonal_snow_is_seen_through_but_real_ice_stays():
    years = [0, 0.25, 0.5, 1, 1.25, 1.5, 2, 2.25]
    apparent = np.array([[0, 1, 1, 0, 1, 1, 0, 1], [1] * 8]).T[:, None, :]
    seen = observed(apparent, years, sure=0.95)
    snow = snow_confusion(snow_chance(seen["time"], 227, 0.02, 0.9), LEGEND, ("other", "debris"), "clean ice")
    np.testing.assert_allclose(snow.sum("apparent"), 1)
    result = consistent_classes(seen, MODEL, 0.95, snow)["map"].values
    assert (result[:, 0, 0] == 0).all() and (result[:, 0, 1] == 1).all()


def test_memory_blocks_and_tiles_do_not_change_the_answer(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    raw = rng.dirichlet(np.ones(4), (5, 13, 9)).transpose(0, 3, 1, 2)
    seen = observed(np.zeros((5, 13, 9), dtype=int), [0, 1, 1.5, 4, 5]).copy(data=raw)
    seen = seen.assign_coords(y=np.arange(13.0), x=np.arange(9.0))
    whole = consistent_classes(seen, MODEL)
    monkeypatch.setattr("vigie.apps.glaciers.history.classes.PIXELS_AT_ONCE", 7)
    xr.testing.assert_identical(consistent_classes(seen, MODEL), whole)
    for engine, keep in ((Serial(), {"y": 4, "x": 5}), (Threads(2), {"y": 13, "x": 2})):
        job = ClassesJob(seen, MODEL, tmp_path / f"{keep['x']}.zarr", confidence=0.95)
        names = list(stream_classes(job, keep, engine))
        assert sorted(names) == sorted(tile.name for tile in tiles({"y": 13, "x": 9}, keep))
        assert list(stream_classes(job, keep, engine)) == []
        stored = xr.open_zarr(job.store, consolidated=False).load()
        for name in whole.data_vars:
            np.testing.assert_array_equal(stored[name].values, whole[name].values)


def test_bad_histories_are_refused():
    seen = observed(np.zeros((3, 1, 1), dtype=int), [0, 1, 2])
    with pytest.raises(VigieError, match="add to 1"):
        consistent_classes(seen * 0.5, MODEL)
    with pytest.raises(VigieError, match="backwards"):
        consistent_classes(seen.isel(time=[1, 0, 2]), MODEL)
    with pytest.raises(VigieError, match="laid out"):
        consistent_classes(seen.isel({"class": [0, 1]}), MODEL)
    with pytest.raises(VigieError, match="dates"):
        consistent_classes(seen.assign_coords(time=[0, 1, 2]), MODEL)
    with pytest.raises(VigieError, match="prior"):
        chain(LEGEND, dict.fromkeys(LEGEND.names, 1.0), dict.fromkeys(LEGEND.names, 1.0))
    with pytest.raises(VigieError, match="dwell time"):
        chain(LEGEND, {"ice": 1.0}, dict.fromkeys(LEGEND.names, 0.25))
    with pytest.raises(VigieError, match="snow"):
        snow_chance(seen["time"], 235, 0.5, 0.1)
