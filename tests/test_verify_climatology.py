"""Climatologies: tallies add to the whole, quantiles keep their bound, swaths fall into their cells, fills are refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from vigie.core.errors import VigieError
from vigie.verify.climatology import (
    EDGES,
    QUANTILE_ERROR,
    Cells,
    GridCounts,
    count_field,
    finish_climatology,
    histogram_quantiles,
    quantile_quantile,
)
from vigie.verify.tally import add_all


def field(seed=0, shape=(60, 4, 5)):
    rng = np.random.default_rng(seed)
    values = np.where(rng.random(shape) < 0.3, rng.lognormal(0, 1.5, shape), 0.0)
    values[rng.random(shape) < 0.05] = np.nan
    return xr.DataArray(values, dims=("time", "y", "x"), coords={"y": np.arange(shape[1]), "x": np.arange(shape[2])})


def test_a_climatology_is_numpys():
    rain = field(shape=(3000, 2, 3))
    found = finish_climatology(count_field(rain, ["time"]), wet=0.1)
    np.testing.assert_array_equal(found["count"], rain.count("time"))
    np.testing.assert_allclose(found["mean"], rain.mean("time"))
    np.testing.assert_allclose(found["wet_fraction"], (rain >= 0.1).where(rain.notnull()).mean("time"))
    exact = np.nanquantile(rain, [0.95, 0.99, 0.999], axis=0, method="inverted_cdf")
    np.testing.assert_allclose(found["rain_quantile"], exact, rtol=QUANTILE_ERROR)
    assert found.attrs == {"wet": 0.1, "quantile_relative_error": QUANTILE_ERROR}


def test_pieces_add_to_the_whole_in_any_order():
    rain = field()
    whole = count_field(rain, ["time"])
    pieces = [rain[20:, :2], rain[:20, 2:], rain[:20, :2], rain[20:, 2:]]
    for order in (pieces, pieces[::-1]):
        added = add_all(count_field(piece, ["time"]) for piece in order)
        xr.testing.assert_allclose(added.total.transpose(*whole.total["histogram"].dims), whole.total)
        xr.testing.assert_identical(added.weight.transpose("y", "x"), whole.weight)
    pooled = whole.sum("x").sum("y")
    xr.testing.assert_allclose(pooled.total, count_field(rain, ["y", "time", "x"]).total)


@settings(max_examples=60)
@given(
    st.lists(st.floats(0.01, 9999, exclude_max=True) | st.just(0.0) | st.sampled_from(EDGES.tolist()), min_size=1, max_size=80),
    st.floats(0.01, 0.99),
)
def test_a_quantile_keeps_its_bound(values, share):
    found = float(histogram_quantiles(count_field(xr.DataArray(values, dims="time"), ["time"]), [share])[0])
    if len(values) * (1 - share) < 1 - 1e-9:
        assert np.isnan(found)
    else:
        exact = np.quantile(values, share, method="inverted_cdf")
        assert abs(found - exact) <= QUANTILE_ERROR * exact


def test_amounts_on_an_edge_are_wet():
    tenths = xr.DataArray(np.arange(4) / 10, dims="time")  # as RADOLAN counts them
    assert finish_climatology(count_field(tenths, ["time"]), wet=0.1)["wet_fraction"] == 0.75
    with pytest.raises(VigieError, match=r"found 0.25; expected an edge of the histogram, near 0.2"):
        finish_climatology(count_field(tenths, ["time"]), wet=0.25)


def test_what_was_never_seen_is_unknown():
    nothing = count_field(xr.DataArray(np.full((5, 2), np.nan), dims=("time", "x")), ["time"])
    found = finish_climatology(nothing, wet=0.1)
    assert found["count"].values.tolist() == [0, 0]
    assert np.isnan(found[["mean", "wet_fraction", "rain_quantile"]].to_dataarray()).all()


EARTH = Cells.around(-90, -180, 90, 180, 30.0)


def test_a_swath_is_counted_where_it_lies():
    rng = np.random.default_rng(1)
    latitude, longitude = rng.uniform(-90, 90, (30, 20)), rng.uniform(-180, 180, (30, 20))
    rain = rng.exponential(1, (30, 20))
    rain[0, :5], latitude[1, 0] = np.nan, np.nan
    counts = GridCounts(EARTH)
    for rows in (slice(9), slice(9, None)):
        counts.add(rain[rows], latitude[rows], longitude[rows])
    found = finish_climatology(counts.tally(), wet=0.1)
    kept = np.isfinite(rain) & np.isfinite(latitude)
    edges = [np.arange(-90, 91, 30), np.arange(-180, 181, 30)]
    number, _, _ = np.histogram2d(latitude[kept], longitude[kept], edges)
    total, _, _ = np.histogram2d(latitude[kept], longitude[kept], edges, weights=rain[kept])
    np.testing.assert_array_equal(found["count"], number)
    np.testing.assert_allclose(found["mean"], total / np.where(number > 0, number, np.nan))
    assert found["latitude"].values.tolist() == [-75, -45, -15, 15, 45, 75] and found["longitude"][0] == -165


def test_the_date_line_and_the_poles_lie_in_the_outer_cells():
    counts = GridCounts(EARTH)
    counts.add(np.full(2, 2.0), np.array([90.0, -90.0]), np.array([180.0, -180.0]))
    number = counts.tally().weight["rain"]
    assert number.sum() == 2 and number.sel(latitude=[-75, 75], longitude=-165).values.tolist() == [1, 1]


def test_quantiles_stand_beside_those_of_a_reference():
    rain = field(shape=(4000, 1, 1))
    reference, product = count_field(rain, rain.dims), count_field(0.7 * rain, rain.dims)
    found = quantile_quantile(product, reference, [0.5, 0.95, 0.99])
    assert found["reference"][0] == 0 and np.isnan(found["ratio"][0])
    np.testing.assert_allclose(found["ratio"][1:], 0.7, rtol=2 * QUANTILE_ERROR)
    with pytest.raises(VigieError, match="level is a share"):
        quantile_quantile(product, reference, [1.0])


def test_fill_values_and_wrong_units_are_refused():
    for wrong in (-9999.9, 1e4):
        with pytest.raises(VigieError, match="rain is no rain"):
            count_field(xr.DataArray([1.0, wrong], dims="time"), ["time"])
    tiny = count_field(xr.DataArray([-1e-9], dims="time"), ["time"])
    assert tiny.total["rain"] == 0 and tiny.total["histogram"][0] == 1


def test_counting_over_a_dimension_that_is_not_there_is_refused():
    with pytest.raises(VigieError, match="cannot be counted over"):
        count_field(field(), ["hour"])


def swath(seed: int, rows: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rain = np.where(rng.random(rows) < 0.4, rng.lognormal(0, 1.5, rows), 0.0)
    rain[rng.random(rows) < 0.05] = np.nan
    return rain, rng.uniform(-90, 90, rows), rng.uniform(-180, 180, rows)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), order=st.permutations(range(4)))
def test_a_grid_that_is_filled_in_place_counts_what_pandas_groups(seed, order):
    counts, parts = GridCounts(EARTH), [swath(seed + number) for number in range(4)]
    for number in order:
        counts.add(*parts[number])
    found = finish_climatology(counts.tally(), wet=0.1, quantiles=(0.9,))
    samples = pd.DataFrame(np.concatenate(parts, axis=1).T, columns=["rain", "latitude", "longitude"]).dropna()
    centres = {axis: (samples[axis] // 30 + 0.5) * 30 for axis in ("latitude", "longitude")}
    cells = samples["rain"].groupby([centres["latitude"], centres["longitude"]])
    expected = xr.Dataset(
        {
            "count": cells.size().to_xarray(),
            "mean": cells.mean().to_xarray(),
            "wet_fraction": cells.agg(lambda rain: (rain >= 0.1).mean()).to_xarray(),
            "quantile": cells.agg(lambda rain: np.quantile(rain, 0.9, method="inverted_cdf")).to_xarray(),
        }
    ).reindex_like(found)
    np.testing.assert_array_equal(found["count"], expected["count"].fillna(0))
    for name in ("mean", "wet_fraction"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12)
    many = found["count"] >= 10
    error = np.abs(found["rain_quantile"][0] - expected["quantile"]).where(many)
    assert (error.fillna(0) <= np.maximum(QUANTILE_ERROR * expected["quantile"].fillna(0), EDGES[1])).all()


def test_a_grid_of_a_region_counts_what_lies_in_it_and_on_its_edges():
    cells = Cells.around(south=10.2, west=178.5, north=12.0, east=180.0, cell_deg=1.0)
    assert (cells.rows, cells.columns) == (2, 2)
    counts = GridCounts(cells)
    latitude, longitude = np.array([10.2, 12.0, 12.1, 11.0, 11.0]), np.array([178.5, 180.0, 179.0, -179.5, 177.9])
    counts.add(np.ones(5), latitude, longitude)
    assert counts.tally().weight["rain"].values.tolist() == [[1, 0], [0, 1]]
    assert counts.histogram.nbytes + counts.total.nbytes == cells.bytes


def test_a_grid_refuses_what_is_no_rain():
    with pytest.raises(VigieError, match="rain is no rain"):
        GridCounts(Cells(0.0, 0.0, 1, 1, 1.0)).add(np.array([-9999.9]), np.array([0.5]), np.array([0.5]))
