"""Which files a swath is labelled from: periods and places, what is refused, and what the catalogue keeps of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from vigie.acquire.label_sources import LabelSourceSettings, gather_labels, meets, thinned
from vigie.acquire.swath_sources import (
    GranuleSourceSettings,
    gather_granules,
    granules_hash,
    read_granules,
    write_granules,
)
from vigie.core.errors import VigieError
from vigie.core.swath import Channel, channel_coordinates

NOON = np.datetime64("2020-01-01T12:00", "ns")
MINUTE = np.timedelta64(60_000_000_000, "ns")
HERE = Path()


def stored(path, latitude=0.0, longitude=179.0, later=0, **more):
    """Write a small swath, of a radiometer, or of a radar where it has a source of labels and no channels."""
    dims = ("scan", "pixel")
    north, east = np.mgrid[0:20, 0:15] * 0.05
    made = xr.Dataset(
        {"flags": (dims, np.zeros((20, 15), np.uint8))},
        {"time": ("scan", NOON + np.arange(20) * MINUTE // 30 + later * MINUTE), "group": ("scan", ["g"] * 20)},
        {"swath": path.stem, "sensor": "X", "platform": "Y", "product": "Z", **more},
    )
    made["latitude"] = dims, (latitude + north).astype(np.float32)
    made["longitude"] = dims, ((longitude + east + 180) % 360 - 180).astype(np.float32)
    if "label_source" in more:
        made["truth"] = dims, np.ones((20, 15), np.float32), {"units": "mm h-1"}
    else:
        made = made.assign_coords(channel_coordinates([Channel(89.0, "V", 5.6)]))
        made["brightness_temperature"] = (*dims, "channel"), np.full((20, 15, 1), 250, np.float32), {"units": "K"}
    made.to_netcdf(path, engine="h5netcdf")
    return str(path)


def table(path, minutes, latitude=0.5, longitude=179.5):
    rows = [("a", str(NOON + int(minute) * MINUTE), latitude, longitude, 1.0) for minute in minutes]
    pd.DataFrame(rows, columns=["station", "time", "lat", "lon", "rain_mm_h"]).to_csv(path, index=False)
    return str(path)


@pytest.fixture
def swaths(tmp_path):
    paths = [stored(tmp_path / "one.nc"), stored(tmp_path / "two.nc", later=60)]
    return gather_granules([GranuleSourceSettings(files=paths)], HERE)


def source(*files, **more):
    return LabelSourceSettings(files=files, **more)


def test_a_swath_is_labelled_from_the_files_that_meet_it(tmp_path, swaths):
    files = [
        stored(tmp_path / "first.nc", later=5, label_source="dpr"),
        stored(tmp_path / "second.nc", later=58, label_source="dpr"),
        stored(tmp_path / "elsewhere.nc", latitude=30, label_source="dpr"),
        stored(tmp_path / "tomorrow.nc", later=1440, label_source="dpr"),
    ]
    one, two = gather_labels([source(*files, minutes=10.0, distance_km=3.0)], HERE, swaths)
    assert [[Path(file.href).stem for file in granule.labels] for granule in (one, two)] == [["first"], ["second"]]
    assert one.label_source == "dpr" and one.labels[0].minutes == 10 and len(one.labels[0].sha256) == 64
    assert one.labels[0].begin == "2020-01-01T12:05:00.000Z"


def test_the_catalogue_keeps_labels_and_their_place_does_not_count(tmp_path, swaths):
    labelled = gather_labels([source(stored(tmp_path / "r.nc", label_source="dpr"))], HERE, swaths)
    write_granules(labelled, tmp_path / "catalog.parquet")
    assert read_granules(tmp_path / "catalog.parquet") == labelled
    moved = [replace(g, labels=tuple(replace(file, href="/elsewhere/r.nc") for file in g.labels)) for g in labelled]
    other = [replace(g, labels=tuple(replace(file, minutes=1.0) for file in g.labels)) for g in labelled]
    assert granules_hash(moved) == granules_hash(labelled) != granules_hash(other)


def test_without_labels_nothing_changes(swaths):
    assert gather_labels([], HERE, swaths) == swaths


def test_swaths_with_rain_rates_keep_them(tmp_path, swaths):
    radar = stored(tmp_path / "r.nc", label_source="dpr")
    with_their_own = [replace(granule, label_source="cmb") for granule in swaths]
    found = gather_labels([source(radar)], HERE, [with_their_own[1], swaths[0]])
    assert [(granule.label_source, len(granule.labels)) for granule in found] == [("cmb", 0), ("dpr", 1)]
    with pytest.raises(VigieError, match="have no swath to label"):
        gather_labels([source(radar)], HERE, with_their_own)


def test_gauges_and_radars_need_a_source_of_their_own(tmp_path, swaths):
    gauges = table(tmp_path / "gauges.csv", [1])
    one, _ = gather_labels([source(gauges, label_source="gauge")], HERE, swaths)
    assert one.label_source == "gauge"
    with pytest.raises(VigieError, match="nobody says where its labels come from"):
        gather_labels([source(gauges)], HERE, swaths)
    with pytest.raises(VigieError, match="did you mean 'gauge'"):
        gather_labels([source(gauges, label_source="gauges")], HERE, swaths)
    with pytest.raises(VigieError, match="its name tells another source of labels; found era5"):
        gather_labels([source(table(tmp_path / "era5_points.csv", [1]), label_source="gauge")], HERE, swaths)
    radar = stored(tmp_path / "r.nc", label_source="dpr")
    with pytest.raises(VigieError, match="its labels come from elsewhere; found dpr; expected label_source 'cmb'"):
        gather_labels([source(radar, label_source="cmb")], HERE, swaths)
    with pytest.raises(VigieError, match="would be labelled from different sources; found dpr, gauge"):
        gather_labels([source(radar), source(gauges, label_source="gauge")], HERE, swaths)


@pytest.mark.parametrize(("later", "fits"), [(14.9, True), (15.5, False), (-15.5, False), (-14.9, True)])
def test_labels_that_come_too_late_or_too_early_are_refused(tmp_path, swaths, later, fits):
    when = NOON + np.timedelta64(round(later * 60), "s") + (np.timedelta64(38, "s") if later > 0 else np.timedelta64(0, "s"))
    path = tmp_path / "gauges.csv"
    path.write_text(f"station,time,lat,lon,rain_mm_h\na,{when},0.5,179.5,1\n")
    given_so = source(str(path), label_source="gauge", minutes=15.0)
    if fits:
        assert gather_labels([given_so], HERE, swaths[:1])[0].labels
        return
    with pytest.raises(
        VigieError, match=r"do not overlap in time; found labels 2020.*swaths 2020.*within 15 minutes"
    ) as caught:
        gather_labels([given_so], HERE, swaths[:1])
    assert "\n" not in str(caught.value)


def test_labels_elsewhere_are_refused(tmp_path, swaths):
    radar = stored(tmp_path / "r.nc", latitude=30, longitude=20, label_source="dpr")
    with pytest.raises(VigieError, match=r"do not overlap in place; found labels in 30\.\.31 N 20\.\.21 E.*within 5 km"):
        gather_labels([source(radar)], HERE, swaths)


@settings(deadline=None, max_examples=25)
@given(st.floats(-89, 89), st.floats(-180, 180), st.floats(0.0, 25.0), st.integers(0, 360))
def test_what_is_thinned_never_misses_a_meeting(latitude, longitude, apart_km, bearing):
    """Two swaths of 60000 positions, one moved: thinned they meet whenever the whole ones do."""
    from vigie.acquire.granules.colocate import nearest
    from vigie.acquire.label_sources import Look
    from vigie.core.granule import LabelFile

    north, east = np.mgrid[0:60, 0:1000] * 0.01
    first = np.clip(latitude + north - 0.3, -90, 90), longitude + east
    second = np.clip(first[0] + 0.6 + apart_km / 111.2, -90, 90), first[1] + 0.1 * np.sin(np.deg2rad(bearing))
    within = 10.0
    really = bool((nearest(first, second, within) >= 0).any())
    file = LabelFile("x", "dpr", "", "", within, 1.0, 0.5)
    look = Look(file, (NOON, NOON), *thinned(second))
    assert meets(look, *thinned(first)) or not really
