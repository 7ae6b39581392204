"""Files of labels: what each kind holds as fields of rain, and what is refused; small ones written here, and real ones."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vigie.acquire.files import list_files
from vigie.acquire.granules import dpr, radolan
from vigie.acquire.granules.label_gauges import Stations, StationTable
from vigie.acquire.granules.label_grids import CfGrid, Imerg, Radolan, radolan_positions
from vigie.acquire.granules.label_passes import Pass
from vigie.acquire.granules.labels import KNOWN, open_labels
from vigie.core.errors import VigieError

ALWAYS = np.datetime64("1900-01-01", "ns"), np.datetime64("2100-01-01", "ns")
EVERYWHERE = -90.0, 90.0


def only(reader, period=ALWAYS, latitudes=EVERYWHERE):
    (found,) = reader.fields(period, latitudes)
    return found


@pytest.fixture
def radar_swath(tmp_path):
    """A pass of a radar in the layout of swaths, without channels."""
    latitude, longitude = np.mgrid[0.0:1.0:0.05, 10.0:10.39:0.05]
    flags = np.zeros(latitude.shape, np.uint8)
    flags[3] = 4
    made = xr.Dataset(
        {
            "truth": (("scan", "pixel"), latitude.astype(np.float32), {"units": "mm h-1"}),
            "latitude": (("scan", "pixel"), latitude),
            "longitude": (("scan", "pixel"), longitude),
            "flags": (("scan", "pixel"), flags),
        },
        coords={
            "time": ("scan", np.datetime64("2020-01-01T00:00", "ns") + np.arange(20) * np.timedelta64(60, "s")),
            "group": ("scan", ["pass"] * 20),
        },
        attrs={"swath": "pass", "sensor": "KuPR", "platform": "synthetic", "product": "radar", "label_source": "dpr"},
    )
    made.to_netcdf(tmp_path / "pass.nc", engine="h5netcdf")
    return tmp_path / "pass.nc"


def test_of_a_pass_the_scans_of_a_period_are_read_and_one_more_on_either_side(radar_swath):
    reader = open_labels(str(radar_swath), "")
    assert isinstance(reader, Pass) and reader.told == "dpr" and len(reader.times) == 20
    some = only(reader, (reader.times[5], reader.times[8]))
    assert some.rate.shape == (6, 8) and some.ends == (False, False) and some.sides == (True, True)
    np.testing.assert_array_equal(some.time, reader.times[4:10])
    whole = only(reader)
    assert whole.ends == (True, True)
    assert np.isnan(whole.rate[3]).all() and np.isfinite(whole.rate[4]).all(), "suspect scans hold nothing valid"
    assert list(reader.fields((ALWAYS[0], np.datetime64("2019-01-01", "ns")), EVERYWHERE)) == []


def cf(tmp_path, rain, units="mm h-1", name="pr", **attributes):
    time = np.datetime64("2020-01-01T00:00", "ns") + np.arange(rain.shape[0]) * np.timedelta64(3600, "s")
    made = xr.Dataset(
        {name: (("time", "lat", "lon"), rain, {"units": units, **attributes})},
        {"time": time, "lat": np.linspace(-88, 88, rain.shape[1]), "lon": np.linspace(0, 351, rain.shape[2])},
    )
    made.to_netcdf(tmp_path / "grid.nc", engine="h5netcdf")
    return str(tmp_path / "grid.nc")


@pytest.mark.parametrize(
    ("units", "factor"),
    {"mm h-1": 1.0, "kg m-2 s-1": 3600.0, "mm s-1": 3600.0, "mm/day": 1 / 24, "m s-1": 3.6e6, "kg m**-2 s**-1": 3600.0}.items(),
)
def test_rates_of_a_grid_are_in_mm_h_whatever_their_unit(tmp_path, units, factor):
    rain = np.random.default_rng(0).uniform(0, 1, (3, 45, 40))
    reader = open_labels(cf(tmp_path, rain, units))
    assert isinstance(reader, CfGrid)
    found = list(reader.fields((reader.times[1], reader.times[2]), EVERYWHERE))
    assert len(found) == 2 and (found[0].time == reader.times[1]).all()
    np.testing.assert_allclose(found[1].rate, rain[2] * factor, rtol=1e-6)


def test_of_a_grid_the_rows_between_two_latitudes_are_read(tmp_path):
    rain = np.random.default_rng(0).uniform(0, 1, (1, 45, 40))
    reader = open_labels(cf(tmp_path, rain))
    found = only(reader, latitudes=(10.0, 21.0))
    assert found.latitude[:, 0].tolist() == [8.0, 12.0, 16.0, 20.0, 24.0]
    assert found.ends == (False, False) and found.sides == (False, False), "it closes around the Earth"
    np.testing.assert_allclose(found.area, np.cos(np.deg2rad(found.latitude)))
    np.testing.assert_allclose(found.rate, rain[0, 24:29], rtol=1e-6)
    assert only(reader).ends == (False, False), "it reaches the poles"


def test_an_amount_needs_its_interval(tmp_path):
    path = cf(tmp_path, np.full((2, 3, 4), 6.0), "mm", "tp")
    with pytest.raises(VigieError, match="tp is an amount, and nobody says in which interval it fell"):
        only(open_labels(path), (ALWAYS[0], np.datetime64("2020-01-01T00:30", "ns")))
    plain = xr.load_dataset(path, engine="h5netcdf")
    bounds = np.stack([plain["time"].values - np.timedelta64(3, "h"), plain["time"].values], axis=-1)
    plain = plain.assign(time_bnds=(("time", "nv"), bounds))
    plain["time"].attrs["bounds"] = "time_bnds"
    plain.to_netcdf(tmp_path / "bounded.nc", engine="h5netcdf")
    reader = open_labels(str(tmp_path / "bounded.nc"))
    assert reader.times[0] == np.datetime64("2019-12-31T22:30")
    np.testing.assert_allclose([field.rate for field in reader.fields(ALWAYS, EVERYWHERE)], 2.0)


def test_fills_of_a_grid_are_missing_and_rounding_below_zero_is_zero(tmp_path):
    rain = np.full((1, 3, 4), 1.0)
    rain[0, 0, 0], rain[0, 0, 1] = np.nan, -1e-9
    found = only(open_labels(cf(tmp_path, rain))).rate
    assert np.isnan(found[0, 0]) and found[0, 1] == 0
    rain[0, 2, 2] = -0.5
    with pytest.raises(VigieError, match=r"pr is below zero; found -0\.5 mm/h"):
        only(open_labels(cf(tmp_path, rain)))


def test_a_grid_of_two_dimensional_positions_has_edges(tmp_path):
    latitude, longitude = np.mgrid[40.0:42.0:0.5, 5.0:8.0:0.5]
    made = xr.Dataset(
        {"rain": (("y", "x", "time"), np.ones((4, 6, 1)), {"units": "mm/h", "standard_name": "rainfall_rate"})},
        {"time": [np.datetime64("2020-01-01", "ns")], "lat": (("y", "x"), latitude), "lon": (("y", "x"), longitude)},
    )
    made.to_netcdf(tmp_path / "two.nc", engine="h5netcdf")
    found = only(open_labels(str(tmp_path / "two.nc")))
    assert found.rate.shape == (4, 6) and found.ends == found.sides == (True, True)


@pytest.mark.parametrize("turned", [False, True])
def test_stations_of_cf_and_of_tables_are_rows_of_gauges(tmp_path, turned):
    time = np.array(["2020-01-01T00:00", "2020-01-01T00:10"], "datetime64[ns]")
    rain = np.array([[1.0, 2.0, np.nan], [0.0, 4.0, 5.0]])
    latitude, longitude = [50.0, 51.0, 52.0], [8.0, 9.0, 10.0]
    made = xr.Dataset(
        {"rain": (("time", "station"), rain, {"units": "mm h-1"})},
        {"time": time, "lat": ("station", latitude), "lon": ("station", longitude)},
    )
    made = made.transpose("station", "time") if turned else made
    made.to_netcdf(tmp_path / "stations.nc", engine="h5netcdf")
    rows = [
        (f"s{station}", str(when) + "Z", latitude[station], longitude[station], rain[step, station])
        for step, when in enumerate(time)
        for station in (2, 0, 1)
    ]
    table = pd.DataFrame(rows, columns=["station", "time", "lat", "lon", "rain_mm_h"])
    table.to_csv(tmp_path / "gauges.csv", index=False)
    table.to_parquet(tmp_path / "gauges.parquet")
    for name, kind in {"stations.nc": Stations, "gauges.csv": StationTable, "gauges.parquet": StationTable}.items():
        reader = open_labels(str(tmp_path / name))
        assert isinstance(reader, kind)
        np.testing.assert_array_equal(reader.times, time)
        first, second = reader.fields(ALWAYS, EVERYWHERE)
        np.testing.assert_array_equal(first.rate, rain[:1].astype(np.float32))
        np.testing.assert_array_equal(second.rate, rain[1:].astype(np.float32))
        assert first.latitude.tolist() == [latitude] and second.time.tolist() == time[1:].tolist()
        assert len(list(reader.fields((time[1], ALWAYS[1]), EVERYWHERE))) == 1
        assert reader.positions()[0].size == 3


def test_imerg_holds_at_the_middle_of_its_half_hour(write_granule):
    rate = np.arange(48, dtype=np.float32).reshape(1, 6, 8)
    content = {
        **{f"Grid/{name}": rate for name in ("precipitation", "randomError", "precipitationQualityIndex")},
        "Grid/lat": np.linspace(-3.5, 3.5, 8).astype(np.float32),
        "Grid/lon": np.arange(6, dtype=np.float32),
        "Grid/time": np.array([643_507_200], np.int32),
        "Grid/time_bnds": np.array([[643_507_200, 643_509_000]], np.int32),
    }
    said = {
        f"Grid/{name}@DimensionNames": "time,lon,lat" for name in ("precipitation", "randomError", "precipitationQualityIndex")
    }
    header = {"AlgorithmID": "3IMERGHH", "InstrumentName": "MERGED", "SatelliteName": "MULTI"}
    reader = open_labels(str(write_granule("i.h5", header, content, said)))
    assert isinstance(reader, Imerg) and reader.told == ""
    assert reader.times[0] == np.datetime64("1980-01-06") + np.timedelta64(643_507_200 + 900, "s")
    found = only(reader, latitudes=(-1.0, 1.0))
    assert found.latitude[:, 0].tolist() == [-1.5, -0.5, 0.5, 1.5] and found.sides == (True, True)
    np.testing.assert_array_equal(found.rate, rate[0, :, 2:6].T)


def test_radolan_holds_rates_at_the_middle_of_its_hour(tmp_path):
    header = b"RW102050100000814BY1620134VS 3SW   2.13.1PR E-01INT  60GP 900x 900MS 62<boo,ros,emd> "
    words = np.full((900, 900), 0x29C4, "<u2")
    words[450, 450] = 25
    (tmp_path / "rw.gz").write_bytes(gzip.compress(header + b"\x03" + words.tobytes()))
    reader = open_labels(str(tmp_path / "rw.gz"))
    assert isinstance(reader, Radolan) and reader.told == "radar"
    assert reader.times.tolist() == np.array(["2014-08-10T20:20"], "datetime64[ns]").tolist()
    found = only(reader)
    assert int(np.isfinite(found.rate).sum()) == 1 and np.nanmax(found.rate) == pytest.approx(2.5)
    row, column = np.argwhere(np.isfinite(found.rate))[0]
    # The centre of the composite, as its description gives it, is the corner that four cells share.
    assert (found.latitude[row, column], found.longitude[row, column]) == pytest.approx((51.0, 9.0), abs=0.02)
    assert list(reader.fields((ALWAYS[0], np.datetime64("2014-08-10T20:00", "ns")), EVERYWHERE)) == []


def test_what_holds_no_rain_says_what_it_holds(tmp_path, write_granule):
    with pytest.raises(VigieError, match=r"grid\.nc holds no rain; found variables tas.*name the variable"):
        only(open_labels(cf(tmp_path, np.ones((1, 3, 4)), "K", "tas")))
    with pytest.raises(VigieError, match=r"pr of grid\.nc has no unit of rain; found units ''"):
        only(open_labels(cf(tmp_path, np.ones((1, 3, 4)), "")))
    assert only(open_labels(cf(tmp_path, np.ones((1, 3, 4)), ""), units="mm/h")).rate.max() == 1
    assert only(open_labels(cf(tmp_path, np.ones((1, 3, 4)), name="tas"), variable="tas")).rate.max() == 1
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(VigieError, match="holds no labels that vigie reads") as caught:
        open_labels(str(tmp_path / "notes.txt"))
    assert all(known in str(caught.value) for known in KNOWN)
    with pytest.raises(VigieError, match="does not exist"):
        open_labels(str(tmp_path / "nothing.nc"))


@pytest.mark.parametrize(
    ("text", "words"),
    {
        "station,time,lat,lon,rain\na,2020-01-01,1,2,3\n": "expected columns station, time, lat, lon, rain_mm_h",
        "station,time,lat,lon,rain_mm_h\na,2020-01-01,1,2,x\n": "a column cannot be read",
        "station,time,lat,lon,rain_mm_h\na,soon,1,2,3\n": "a column cannot be read",
        "station,time,lat,lon,rain_mm_h\na,2020-01-01,1,2,3\na,2020-01-01,1,2,4\n": "a station twice at one time",
        "station,time,lat,lon,rain_mm_h\na,2020-01-01,1,2,-3\n": "rain below zero",
        'station,time\n"a': "is no table of gauges",
    }.items(),
)
def test_tables_that_are_not_clean_are_refused(tmp_path, text, words):
    (tmp_path / "gauges.csv").write_text(text)
    with pytest.raises(VigieError, match=words) as caught:
        open_labels(str(tmp_path / "gauges.csv")).times  # noqa: B018
    assert "\n" not in str(caught.value)


def test_netcdf_without_place_or_time_or_with_other_dimensions_is_refused(tmp_path):
    grid = xr.load_dataset(cf(tmp_path, np.ones((1, 3, 4))), engine="h5netcdf")
    for change, words in (
        (grid.drop_vars("time"), "does not tell its time"),
        (grid.rename(lat="row"), "does not tell where its rain fell"),
        (grid.expand_dims(level=[1]), "pr has other dimensions"),
        (grid.assign(rain=grid["pr"]), "holds rain more than once"),
    ):
        change.to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
        with pytest.raises(VigieError, match=words):
            only(open_labels(str(tmp_path / "x.nc")))


def test_a_swath_of_brightness_temperatures_alone_labels_nothing(write_granule):
    header = {"AlgorithmID": "2AGPROFGMI", "InstrumentName": "GMI", "SatelliteName": "GPM"}
    path = write_granule("g.h5", header, {"S1/Latitude": np.zeros((2, 2), np.float32)})
    with pytest.raises(VigieError, match="lacks the data set"):
        open_labels(str(path)).told  # noqa: B018


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("pattern", "source"), [("swath_dpr/*", "dpr"), ("gpm_formats/2B*", "cmb"), ("gpm_formats/2A.GPM.DPR*", "dpr")]
)
def test_real_radar_granules_are_passes(samples, pattern, source):
    path = next((samples / "precipitation").glob(pattern))
    reader, whole = open_labels(str(path)), dpr.read(path)
    assert reader.told == source
    np.testing.assert_array_equal(reader.times, whole["time"].values)
    found = only(reader)
    np.testing.assert_array_equal(found.latitude, whole["latitude"].values)
    good = whole["flags"].values < 4
    np.testing.assert_array_equal(found.rate[good], whole["truth"].values[good])


@pytest.mark.realdata
def test_real_grids_of_radolan_and_imerg(samples):
    folder = samples / "precipitation"
    hour = list_files(folder / "rain_fields" / "RW-20221018.tar.gz")[0]
    reader = open_labels(hour)
    assert reader.times.tolist() == np.array(["2022-10-18T00:20"], "datetime64[ns]").tolist()
    field = only(reader)
    np.testing.assert_array_equal(field.rate, radolan.read_ascii(hour)["rainfall_amount"].values)
    np.testing.assert_array_equal(field.latitude, radolan_positions()[0])
    grid = only(open_labels(str(next((folder / "gpm_formats").glob("3B-HHR*")))))
    assert int(np.isfinite(grid.rate).sum()) == 70 and grid.time[0] == np.datetime64("2000-06-01T00:15")
    with pytest.raises(VigieError, match="holds no rain rates that others could be labelled with"):
        open_labels(str(next((folder / "gpm_formats").glob("2A-CLIM*")))).told  # noqa: B018
    daily = open_labels(str(next((folder / "rain_fields").glob("raa01-sf*"))))
    assert np.nanmax(only(daily).rate) == pytest.approx(109.5 / 24, abs=1e-3)


@pytest.mark.realdata
def test_real_model_grids_are_read_in_their_own_units(samples):
    path = next((samples / "precipitation" / "climate").glob("pr_day_MPI*"))
    reader = open_labels(str(path), "simulated")
    first = next(reader.fields(ALWAYS, EVERYWHERE))
    with xr.open_dataset(path, engine="h5netcdf") as file:
        np.testing.assert_allclose(first.rate, np.maximum(file["pr"].values[0], 0) * 3600, rtol=1e-5)
