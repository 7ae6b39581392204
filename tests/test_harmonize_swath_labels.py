"""Labels of others on a swath: what each footprint keeps, which file wins, why some get none, and no dependence on tiles."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from vigie.core.errors import VigieError
from vigie.core.granule import LabelFile
from vigie.core.label_field import LabelField
from vigie.core.swath import LABEL_STATUS, Channel, channel_coordinates, check
from vigie.harmonize.swath_labels import axes_of, reach, with_labels

NOON = np.datetime64("2020-01-01T12:00", "ns")
SECOND = np.timedelta64(1_000_000_000, "ns")
RADAR = LabelFile("radar", "dpr", "", "", distance_km=5.0, minutes=2.0, least_share=0.5)
SCANS, PIXELS = 24, 9


def swath(scans=SCANS):
    """A swath that flies north at 13.5 km and two seconds a scan."""
    latitude = np.arange(scans)[:, None] * 13.5 / 111.2 + np.zeros((1, PIXELS))
    longitude = 179.9 + np.arange(PIXELS) * 5.0 / 111.2 + np.zeros((scans, 1))
    channels = [Channel(36.64, "V", 12.0, footprint_aspect=1.6), Channel(89.0, "V", 5.6, footprint_aspect=1.6)]
    dims = ("scan", "pixel")
    return xr.Dataset(
        {
            "brightness_temperature": ((*dims, "channel"), np.full((scans, PIXELS, 2), 250, np.float32)),
            "latitude": (dims, latitude.astype(np.float32)),
            "longitude": (dims, ((longitude + 180) % 360 - 180).astype(np.float32)),
            "flags": (dims, np.zeros((scans, PIXELS), np.uint8)),
        },
        {"time": ("scan", NOON + np.arange(scans) * 2 * SECOND), **channel_coordinates(channels)},
        {"swath": "s"},
    )


def radar(later_s=0, columns=slice(None), seed=0):
    """A radar that sees the same ground, some seconds later, at 4.5 km."""
    latitude = -0.3 + np.arange(90)[:, None] * 4.5 / 111.2 + np.zeros((1, 16))
    longitude = (179.8 + np.arange(16) * 4.5 / 111.2 + np.zeros((90, 1)) + 180) % 360 - 180
    rate = np.random.default_rng(seed).gamma(0.5, 2.0, latitude.shape).astype(np.float32)
    time = NOON + (latitude[:, 0] * 111.2 / 13.5 * 2e9).astype("timedelta64[ns]") + later_s * SECOND
    return LabelField(
        latitude[:, columns], longitude[:, columns], rate[:, columns], time, ends=(True, True), sides=(True, True)
    )


def reading(**fields):
    """A reader of fields by href that reads the rows of a period, as `Pass` does."""

    def read(file, period, latitudes):
        whole = fields[file.href]
        rows = np.flatnonzero((whole.time >= period[0]) & (whole.time <= period[1]))
        if rows.size:
            start, stop = max(0, rows[0] - 1), min(len(whole.time), rows[-1] + 2)
            cut = {name: getattr(whole, name)[start:stop] for name in ("latitude", "longitude", "rate", "time")}
            yield replace(whole, **cut, ends=(start == 0, stop == len(whole.time)))

    return read


def test_a_labelled_swath_is_in_the_layout_and_tells_what_labels_it():
    found = with_labels(swath(), [RADAR], reading(radar=radar(later_s=30)))
    check(found)
    assert found.attrs["label_source"] == "dpr"
    assert (found["label_status"].values == LABEL_STATUS["labelled"]).all()
    assert found["truth"].attrs["units"] == "mm h-1" and found["label_minutes"].attrs["units"] == "min"
    np.testing.assert_allclose(found["label_minutes"].values, 0.5, atol=0.02)
    assert (found["label_distance_km"].values <= 5).all() and (found["label_share"].values > 0.9).all()
    assert found["phase"].dtype == np.uint8 and (found["phase"].values == 255).all()


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(1, SCANS - 1), max_size=4), st.sampled_from([0, 40, 110]))
def test_labels_are_the_same_bytes_however_a_swath_is_cut(cuts, later):
    whole, read = swath(), reading(radar=radar(later, slice(4, 12)), second=radar(later - 90, seed=3))
    files = [RADAR, replace(RADAR, href="second", minutes=1.6)]
    edges = [0, *sorted(set(cuts)), SCANS]
    parts = [with_labels(whole.isel(scan=slice(a, b)), files, read) for a, b in pairwise(edges)]
    assert xr.concat(parts, "scan").identical(with_labels(whole, files, read))


def test_the_nearest_in_time_wins_footprint_by_footprint():
    files = [RADAR, replace(RADAR, href="half")]
    early, late = radar(later_s=-60, columns=slice(0, 8)), radar(later_s=90, seed=1)
    both = with_labels(swath(), files, reading(radar=late, half=early))
    alone = {name: with_labels(swath(), [RADAR], reading(radar=one)) for name, one in (("early", early), ("late", late))}
    from_early = alone["early"]["label_status"].values == LABEL_STATUS["labelled"]
    assert 0.2 < from_early.mean() < 0.8
    for name in ("truth", "label_minutes", "label_share"):
        expected = np.where(from_early, alone["early"][name].values, alone["late"][name].values)
        np.testing.assert_array_equal(both[name].values, expected)
    assert (both["label_status"].values == 0).all()


def test_of_two_that_are_equally_near_the_first_wins():
    files = [RADAR, replace(RADAR, href="other")]
    found = with_labels(swath(), files, reading(radar=radar(), other=radar(seed=1)))
    np.testing.assert_array_equal(
        found["truth"].values, with_labels(swath(), files[:1], reading(radar=radar()))["truth"].values
    )


def test_what_gets_no_label_says_why():
    latitude, longitude, rate, time = (getattr(radar(), name).copy() for name in ("latitude", "longitude", "rate", "time"))
    rate[:45, 8:] = np.nan
    field = LabelField(latitude[:60, :], longitude[:60, :], rate[:60], time[:60], ends=(True, True), sides=(True, True))
    found = with_labels(swath(60), [replace(RADAR, minutes=0.5)], reading(radar=field))
    status = found["label_status"].values
    names = np.array(list(LABEL_STATUS))[status]
    # Scans 4 to 14 have labels on one side; the radar ends beyond scan 17, and half a minute later there is none at all.
    assert set(names[4:10, :3].ravel()) == {"labelled"} and set(names[4:10, 7:].ravel()) == {"not_valid"}
    assert set(names[22:30].ravel()) == {"too_far"} and set(names[40:].ravel()) == {"too_late"}
    for name in ("truth", "label_distance_km", "label_minutes", "label_share"):
        np.testing.assert_array_equal(np.isfinite(found[name].values), status == 0)


def test_beside_the_radars_swath_footprints_lose_their_labels():
    edge = with_labels(swath(), [RADAR], reading(radar=radar(columns=slice(0, 7))))
    labelled = edge["label_status"].values == 0
    kept = edge["label_share"].values[labelled]
    # Rays lie at 179.8 degrees and 4.5 km apart: the last one 27 km east of it, the footprints 11.1, 16.1, 21.1, 26.1, 31.1 km.
    assert labelled.all(axis=0).tolist() == [True] * 4 + [False] * 5 and kept.min() >= 0.5
    strict = with_labels(swath(), [replace(RADAR, least_share=0.99)], reading(radar=radar(columns=slice(0, 7))))
    assert (strict["label_status"].values == 0).all(axis=0).tolist() == [True] * 3 + [False] * 6
    distance = edge["label_distance_km"].values[:, 3]
    assert (distance > 2 * edge["label_distance_km"].values[:, 0]).mean() > 0.5
    files = [replace(RADAR, distance_km=float(np.median(distance)))]
    near = with_labels(swath(), files, reading(radar=radar(columns=slice(0, 7))))["label_status"].values[:, 3]
    np.testing.assert_array_equal(near == LABEL_STATUS["too_far"], distance > np.median(distance))


def test_a_coarser_channel_averages_more():
    fine, coarse = (
        with_labels(swath(), [replace(RADAR, channel=name)], reading(radar=radar()))["truth"].values for name in ("", "36.64V")
    )
    assert coarse.std() < 0.6 * fine.std() and coarse.mean() == pytest.approx(fine.mean(), rel=0.15)


def test_channels_and_footprints_must_be_known():
    with pytest.raises(VigieError, match=r"no channel '89\.0V'.*did you mean '89\.00V'"):
        axes_of(swath(), "89.0V")
    unknown = swath().assign_coords(footprint_km=("channel", [np.nan, np.nan]))
    with pytest.raises(VigieError, match="does not tell its footprints"):
        axes_of(unknown, "")
    assert axes_of(swath().drop_vars("footprint_aspect"), "36.64V") == (12.0, 12.0)
    assert axes_of(swath(), "36.64V") == pytest.approx((12 * 1.6**0.5, 12 / 1.6**0.5))
    assert reach(replace(RADAR, distance_km=40.0), (5.0, 5.0)) == 40.0


def test_without_files_a_swath_stays_as_it_is():
    assert with_labels(swath(), [], reading()).identical(swath())


def test_scans_without_times_or_places_get_none():
    lost = swath()
    lost["time"] = ("scan", np.full(SCANS, np.datetime64("NaT"), "datetime64[ns]"))
    assert (with_labels(lost, [RADAR], reading(radar=radar()))["label_status"].values == LABEL_STATUS["too_late"]).all()
    holed = swath()
    holed["latitude"][5] = np.nan
    found = with_labels(holed, [RADAR], reading(radar=radar()))["label_status"].values
    assert (found[5] == LABEL_STATUS["too_far"]).all() and (np.delete(found, 5, axis=0) == 0).all()
