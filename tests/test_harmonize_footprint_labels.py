"""What an antenna sees of rain: against all pairs by hand, pyresample, the antenna of the forward model, and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vigie.acquire.granules import dpr, gprof, radiometer
from vigie.core.label_field import LabelField
from vigie.core.sphere import EARTH_RADIUS_KM, unit_vectors
from vigie.core.swath import Channel
from vigie.harmonize import footprint_labels
from vigie.harmonize.footprint_labels import Footprints, points_of, scanwards, weigh
from vigie.physics.antenna import smooth
from vigie.physics.footprint import SIGMA_PER_WIDTH, reach_km
from vigie.synthetic.orbit import CELL_KM, Granule, ground

NOON = np.datetime64("2020-01-01T12:00", "ns")
MINUTE = np.timedelta64(60_000_000_000, "ns")
DEGREE_KM = EARTH_RADIUS_KM * np.pi / 180


def plane(rows, columns, step_km, centre=(0.0, 0.0)):
    """Positions of a small lattice around a place."""
    north, east = np.mgrid[:rows, :columns].astype(float)
    latitude = centre[0] + (north - (rows - 1) / 2) * step_km / DEGREE_KM
    longitude = centre[1] + (east - (columns - 1) / 2) * step_km / DEGREE_KM / np.cos(np.deg2rad(latitude))
    return latitude, (longitude + 180) % 360 - 180


def field(positions, rate, **more):
    return LabelField(*positions, rate.astype(np.float32), np.full(len(rate), NOON), **more)


def looking(positions, axes_km, along_scan=True):
    place = unit_vectors(*positions)
    across = scanwards(place) if along_scan else np.full(place.shape, np.nan)
    time = np.full(place.shape[0] * place.shape[1], NOON)
    return Footprints(place.reshape(-1, 3), time, across.reshape(-1, 3), axes_km)


def seen(positions, labels, axes_km=(12.0, 7.0), within_km=None, minutes=5.0, **more):
    within = reach_km(axes_km) if within_km is None else within_km
    return weigh(looking(positions, axes_km, **more), points_of(labels, within), within, minutes)


def test_a_mean_over_all_pairs_by_hand():
    """Every footprint and every label, in a tangent plane of the footprint, one after the other."""
    random = np.random.default_rng(5)
    labels = plane(31, 29, 2.3, (50.0, 11.0))
    rate = random.gamma(0.5, 2.0, labels[0].shape)
    rate[random.uniform(size=rate.shape) < 0.2] = np.nan
    asked = plane(4, 5, 8.0, (50.0, 11.0))
    found = seen(asked, field(labels, rate.astype(np.float32)))
    rate = rate.astype(np.float32)
    place, there = unit_vectors(*asked), unit_vectors(*labels).reshape(-1, 3)
    for at, (row, column) in enumerate(np.ndindex(asked[0].shape)):
        scan = place[row, min(column + 1, 4)] - place[row, max(column - 1, 0)]
        scan /= np.linalg.norm(scan)
        sight = np.cross(place[row, column], scan)
        apart = EARTH_RADIUS_KM * (there - place[row, column])
        weight = np.exp(-4 * np.log(2) * ((apart @ sight / 12.0) ** 2 + (apart @ scan / 7.0) ** 2))
        weight[np.linalg.norm(apart, axis=1) > reach_km((12.0, 7.0))] = 0
        valid = np.isfinite(rate.ravel())
        assert found.rate[at] == pytest.approx(
            (weight * np.nan_to_num(rate.ravel()))[valid].sum() / weight[valid].sum(), rel=1e-9
        )
        assert found.share[at] == pytest.approx(weight[valid].sum() / weight.sum(), rel=1e-9)
        centre = (weight[valid, None] * apart[valid]).sum(axis=0) / weight[valid].sum()
        assert found.distance_km[at] == pytest.approx(np.linalg.norm(centre), rel=1e-6)


def test_a_circle_is_what_pyresample_makes_of_it():
    from pyresample.geometry import SwathDefinition
    from pyresample.kd_tree import resample_gauss

    random = np.random.default_rng(1)
    labels, asked = plane(60, 60, 1.5, (45.0, 180.0)), plane(5, 6, 9.0, (45.0, 180.0))
    rate = random.gamma(0.5, 2.0, labels[0].shape)
    found = seen(asked, field(labels, rate), axes_km=(10.0, 10.0), along_scan=False)
    # Its sigma is that of exp(-r2 / sigma2): a Gaussian's times the root of two.
    sigma_m = 1000 * 10.0 * SIGMA_PER_WIDTH * np.sqrt(2)
    source, target = (SwathDefinition(lons=one[1], lats=one[0]) for one in (labels, asked))
    theirs = resample_gauss(source, rate, target, 1000 * reach_km((10.0, 10.0)), sigma_m, neighbours=500, reduce_data=False)
    np.testing.assert_allclose(found.rate, theirs.ravel(), rtol=2e-5)


@pytest.mark.parametrize("place", ["plane", "orbit"])
def test_the_antenna_of_the_forward_model_sees_the_same(place):
    """Rain on even cells, smoothed as a channel of that footprint is. Below an orbit cells lean a little."""
    orbit = Granule("g", 3, "2020-01-01T00:00:00", 40.0, 175.0, scans=20, pixels=50)
    positions = plane(60, 50, CELL_KM, (0.0, 179.9)) if place == "plane" else ground(orbit)
    rain = np.random.default_rng(2).gamma(0.6, 2.0, positions[0].shape)
    circle = Channel(36.64, "V", footprint_km=12.1)
    smoothed = smooth(torch.as_tensor(rain)[..., None], [circle], (CELL_KM, CELL_KM)).numpy()[..., 0]
    inner = np.s_[8:-8, 8:-8]
    asked = positions[0][inner], positions[1][inner]
    found = seen(asked, field(positions, rain), axes_km=(12.1, 12.1), along_scan=False)
    np.testing.assert_allclose(found.rate, smoothed[inner].ravel(), rtol={"plane": 0.015, "orbit": 0.05}[place])


def test_of_rain_that_rises_evenly_a_footprint_sees_its_own():
    labels, asked = plane(41, 41, 2.0), plane(3, 3, 6.0)
    found = seen(asked, field(labels, 5 + 10 * labels[0] + 20 * labels[1]))
    np.testing.assert_allclose(found.rate, (5 + 10 * asked[0] + 20 * asked[1]).ravel(), atol=1e-3)
    assert found.share == pytest.approx(np.ones(9)) and (found.distance_km < 0.1).all() and (found.minutes == 0).all()


def test_the_long_axis_lies_across_the_scan():
    """Scans run east here: a stripe of rain along the line of sight fills the footprint more than one along the scan."""
    labels, asked = plane(61, 61, 1.0), plane(1, 3, 5.0)
    northward, eastward = (np.abs(labels[axis] * DEGREE_KM) < 2.4 for axis in (1, 0))
    along, across = (seen(asked, field(labels, stripe)).rate[1] for stripe in (northward, eastward))
    assert along == pytest.approx(_within(2.5, 7.0), abs=0.01) and across == pytest.approx(_within(2.5, 12.0), abs=0.01)


def _within(half_km, width_km):
    from scipy.special import erf

    return erf(half_km / (np.sqrt(2) * width_km * SIGMA_PER_WIDTH))


@pytest.mark.parametrize("axis", [0, 1])
def test_over_the_edge_of_a_swath_the_share_falls_as_the_gaussian_does(axis):
    labels = plane(41, 41, 1.0)
    asked = plane(1, 3, 4.0) if axis else plane(3, 3, 4.0)
    edge_km = 20.5
    moved = tuple(part + (edge_km / DEGREE_KM if number == axis else 0) for number, part in enumerate(asked))
    ends = field(labels, np.ones(labels[0].shape), ends=(True, True), sides=(True, True))
    found = seen(moved, ends, axes_km=(9.0, 9.0), along_scan=False)
    from scipy.special import ndtr

    offset = (asked[1] if axis else asked[0]).ravel() * DEGREE_KM
    np.testing.assert_allclose(found.share, ndtr(-offset / (9.0 * SIGMA_PER_WIDTH)), atol=0.01)
    assert np.diff(found.distance_km[offset.argsort()]).min() > -1e-9
    cut = seen(moved, field(labels, np.ones(labels[0].shape)), axes_km=(9.0, 9.0), along_scan=False)
    assert cut.share == pytest.approx(np.ones(len(offset))), "where reading merely stopped nothing ends"


@settings(deadline=None, max_examples=20)
@given(st.floats(-89.9, 90.0), st.floats(-180, 180))
def test_nothing_depends_on_where_on_earth_it_is(latitude, longitude):
    """A lattice of labels and footprints, carried to any place with its distances: the date line, the poles."""
    labels, asked = plane(21, 21, 2.0), plane(2, 3, 5.0)
    rate = np.random.default_rng(0).gamma(0.5, 2.0, labels[0].shape)
    here = seen(asked, field(labels, rate))
    turned = [_carried(part, latitude, longitude) for part in (asked, labels)]
    there = seen(turned[0], field(turned[1], rate))
    np.testing.assert_allclose(here.rate, there.rate, rtol=1e-6)
    np.testing.assert_allclose(here.share, there.share, rtol=1e-6)


def _carried(positions, latitude, longitude):
    north, east = np.deg2rad(latitude), np.deg2rad(longitude)
    tilt = np.array([[np.cos(north), 0, -np.sin(north)], [0, 1, 0], [np.sin(north), 0, np.cos(north)]])
    turn = np.array([[np.cos(east), -np.sin(east), 0], [np.sin(east), np.cos(east), 0], [0, 0, 1]])
    x, y, z = np.moveaxis(unit_vectors(*positions) @ (turn @ tilt).T, -1, 0)
    return np.rad2deg(np.arctan2(z, np.hypot(x, y))), np.rad2deg(np.arctan2(y, x))


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 11), st.integers(1, 3000))
def test_a_footprint_has_the_same_bytes_in_any_company(cut, pairs):
    labels, asked = plane(41, 41, 2.0, (60.0, 179.9)), plane(12, 7, 5.0, (60.0, 179.9))
    rate = np.random.default_rng(0).gamma(0.5, 2.0, labels[0].shape)
    points = points_of(field(labels, rate, ends=(True, True), sides=(True, True)), 18.0)
    everyone = looking(asked, (12.0, 7.0))
    whole = weigh(everyone, points, 18.0, 5.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(footprint_labels, "PAIRS", pairs)
        parts = [weigh(everyone.part(part), points, 18.0, 5.0) for part in (slice(0, 7 * cut), slice(7 * cut, None))]
    for name in ("rate", "share", "distance_km", "minutes", "phase"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(whole, name))


def test_labels_count_within_the_minutes_and_tell_how_late_they_are():
    labels = plane(9, 9, 2.0)
    times = NOON + MINUTE * np.arange(-8, 10, 2)
    rate = np.arange(9.0)[:, None] * np.ones((9, 9))
    late = LabelField(*labels, rate.astype(np.float32), times)
    points = points_of(late, 40.0)
    found = weigh(looking(plane(1, 1, 1.0), (1000.0, 1000.0)), points, 40.0, 4.0)
    assert found.rate[0] == pytest.approx(4.0, abs=1e-3) and found.minutes[0] == pytest.approx(0.0, abs=1e-3)
    earlier = looking(plane(1, 1, 1.0), (1000.0, 1000.0))
    earlier = Footprints(earlier.place, earlier.time - 6 * MINUTE, earlier.scanwards, earlier.axes_km)
    found = weigh(earlier, points, 40.0, 4.0)
    assert found.rate[0] == pytest.approx(1.5, abs=1e-3) and found.minutes[0] == pytest.approx(1.0, abs=1e-3)


def test_what_falls_is_the_phase_of_most_of_the_rain():
    labels = plane(9, 9, 2.0)
    east = labels[1] > 0.01
    for rate, phase, expected in (
        (np.where(east, 3.0, 1.0), np.where(east, 2, 1), 2),
        (np.where(east, 0.0, 1.0), np.where(east, 0, 1), 1),
        (np.zeros((9, 9)), np.zeros((9, 9)), 0),
        (np.where(east, 3.0, 1.0), np.where(east, 255, 1), 255),
    ):
        found = seen(plane(1, 1, 1.0), field(labels, rate, phase=phase.astype(np.uint8)))
        assert found.phase.tolist() == [expected]


def test_a_grid_of_degrees_does_not_count_twice_what_lies_near_the_pole():
    """Cells crowd there: with their areas the mean of rain that only depends on the latitude is that of an even lattice."""
    latitude, longitude = np.meshgrid(np.arange(88.01, 90, 0.02), np.arange(-179, 180, 2), indexing="ij")
    asked = np.array([[89.9]]), np.array([[0.0]])
    regular = field((latitude, longitude), 90 - latitude, area=np.cos(np.deg2rad(latitude)))
    even = plane(161, 161, 1.0)
    turned = _carried(even, 89.9, 0.0)
    expected = seen(asked, field(turned, 90 - turned[0]), axes_km=(25.0, 25.0)).rate
    assert seen(asked, regular, axes_km=(25.0, 25.0)).rate == pytest.approx(expected, rel=0.01)


def test_a_lone_gauge_beside_a_small_footprint_is_all_there_is():
    gauge = field((np.array([[0.2]]), np.array([[0.0]])), np.array([[7.0]]))
    found = seen(plane(1, 3, 50.0), gauge, axes_km=(5.0, 4.0), within_km=30.0)
    assert found.near.tolist() == [False, True, False]
    assert (found.rate[1], found.share[1], found.distance_km[1]) == pytest.approx((7.0, 1.0, 0.2 * DEGREE_KM), rel=1e-5)


def test_unknown_places_and_times_see_nothing_and_spoil_nothing():
    labels, asked = plane(9, 9, 2.0), plane(3, 3, 4.0)
    asked[0][1, 1] = np.nan
    rate, times = np.ones((9, 9), np.float32), np.full(9, NOON)
    rate[0, 0], labels[1][3, 3], times[8] = np.nan, np.nan, np.datetime64("NaT")
    found = seen(asked, LabelField(*labels, rate, times))
    assert np.isnan(found.rate[4]) and found.near.tolist() == [True] * 4 + [False] + [True] * 4
    np.testing.assert_allclose(np.delete(found.rate, 4), 1.0)


@pytest.mark.realdata
def test_on_the_footprints_of_the_radar_itself_rain_is_what_it_was(samples):
    """2A-DPR and 2B-CMB see the same footprints: a footprint much finer than their spacing takes the nearest, the same one."""
    folder = samples / "precipitation" / "gpm_formats"
    one, other = dpr.read(next(folder.glob("2A.GPM.DPR*"))), dpr.read(next(folder.glob("2B.GPM*")))
    asked = one["latitude"].values, one["longitude"].values
    for swath in (one, other):
        there = swath["latitude"].values, swath["longitude"].values
        found = seen(asked, field(there, swath["truth"].values, phase=swath["phase"].values), axes_km=(1.0, 1.0))
        np.testing.assert_allclose(found.rate, swath["truth"].values.ravel(), atol=1e-6)
        np.testing.assert_array_equal(found.phase, swath["phase"].values.ravel())
    wide = seen(asked, field(asked, other["truth"].values), axes_km=(20.0, 20.0)).rate
    assert 0 < wide.max() < other["truth"].values.max() and (wide > 0).sum() > (other["truth"].values > 0).sum()


@pytest.mark.realdata
def test_rain_of_gprof_lies_on_the_footprints_of_its_radiometer(samples):
    folder = samples / "precipitation" / "gpm_formats"
    tmi = radiometer.read(next(folder.glob("1C.TRMM.TMI*")), groups=("S3",))
    rain = gprof.read(next(folder.glob("2A-CLIM.TRMM.TMI*")))
    asked = tmi["latitude"].values, tmi["longitude"].values
    labels = field((rain["latitude"].values, rain["longitude"].values), rain["rainfall_rate"].values)
    found = seen(asked, labels, axes_km=(1.0, 1.0))
    np.testing.assert_allclose(found.rate, rain["rainfall_rate"].values.ravel(), rtol=1e-6)
    assert (found.share == 1).all() and (found.distance_km < 1e-3).all()
