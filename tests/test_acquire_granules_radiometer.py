"""1C and 1C-R granules: channels, footprints of other swaths, windows, quality; held against brute force and real granules."""

from __future__ import annotations

import re

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vigie.acquire.granules import gprof, radiometer
from vigie.acquire.granules.colocate import nearest
from vigie.acquire.granules.instruments import instrument
from vigie.core.errors import VigieError
from vigie.core.swath import FLAGS

FILL = np.float32(-9999.9)
GMI = {"AlgorithmID": "1CGMI", "InstrumentName": "GMI", "SatelliteName": "GPM"}
LONG_NAMES = {
    "S1/Tc@LongName": "\nIntercalibrated Tb for channels \n   1) 10.65 GHz V-Pol 2) 10.65 GHz H-Pol\n   3) 18.7 GHz V-Pol "
    "4) 18.7 GHz H-Pol\n   5) 23.8 GHz V-Pol \n   6) 36.64 GHz V-Pol 7) 36.64 GHz H-Pol\n   8) 89.0 GHz V-Pol and "
    "9) 89.0 GHz H-Pol\n",
    "S2/Tc@LongName": "\nIntercalibrated Tb for channels \n   1) 166.0 GHz V-Pol 2) 166.0 GHz H-Pol\n   "
    "3) 183.31 +/-3 GHz V-Pol and \n   4) 183.31 +/-7 GHz V-Pol\n",
}
"""As in a granule of version 07."""
SCANS, PIXELS = 40, 9


@pytest.fixture
def content(scan_times):
    """A small GMI granule across the date line: S2 sees the same ground five scans later, and a pixel less at one edge."""
    random = np.random.default_rng(0)
    scan, pixel = np.mgrid[:SCANS, :PIXELS]
    made = {}
    for group, channels, shift in (("S1", 9, 0.0), ("S2", 4, 5.0)):
        made[f"{group}/Latitude"] = (-20 + 0.12 * (scan - shift) + random.uniform(-0.01, 0.01, scan.shape)).astype(np.float32)
        longitude = 179.8 + 0.05 * (pixel + shift / 5) + random.uniform(-0.01, 0.01, scan.shape)
        made[f"{group}/Longitude"] = np.where(longitude > 180, longitude - 360, longitude).astype(np.float32)
        made[f"{group}/Tc"] = random.uniform(150, 290, (*scan.shape, channels)).astype(np.float32)
        made[f"{group}/Quality"] = np.zeros(scan.shape, np.int8)
        made |= scan_times(group, SCANS)
    return made


def haversine_km(one, other):
    north, east, north2, east2 = (np.deg2rad(np.asarray(v, np.float64)) for v in (*one, *other))
    h = np.sin((north2 - north) / 2) ** 2 + np.cos(north) * np.cos(north2) * np.sin((east2 - east) / 2) ** 2
    return 2 * 6371.0 * np.arcsin(np.sqrt(h))


def test_the_nearest_footprint_counts_up_to_the_stated_distance(write_granule, content):
    found = radiometer.read(write_granule("x.h5", GMI, content, LONG_NAMES))
    here = content["S1/Latitude"][..., None, None], content["S1/Longitude"][..., None, None]
    distance = haversine_km(here, (content["S2/Latitude"], content["S2/Longitude"])).reshape(SCANS, PIXELS, -1)
    expected = np.where(
        (distance.min(axis=-1) <= 8.0)[..., None], content["S2/Tc"].reshape(-1, 4)[distance.argmin(axis=-1)], np.nan
    )
    np.testing.assert_array_equal(found["brightness_temperature"].values[..., 9:], expected)
    np.testing.assert_array_equal(found["brightness_temperature"].values[..., :9], content["S1/Tc"])
    incomplete = (found["flags"].values & FLAGS["incomplete"]) != 0
    np.testing.assert_array_equal(incomplete, np.isnan(expected[..., 0]))
    assert 0.1 < incomplete.mean() < 0.5
    assert found.attrs["within_km"] == 8.0


def test_channels_are_described_and_times_kept(write_granule, content):
    found = radiometer.read(write_granule("x.h5", GMI, content, LONG_NAMES))
    assert found["channel"].values.tolist()[::4] == ["10.65V", "23.80V", "89.00H", "183.31+-7V"]
    assert found["sideband_ghz"].values.tolist()[-3:] == [0.0, 3.0, 7.0]
    assert found["footprint_km"].values[7] == pytest.approx((7.2 * 4.4) ** 0.5)
    assert found["incidence_deg"].values[[0, 9]].tolist() == [52.8, 49.2]
    assert str(found["time"].values[-1]) == "2015-01-01T00:01:08.250000000"
    assert set(found["group"].values.tolist()) == {"GPM-000123"}
    assert found["longitude"].values.max() <= 180 and found["longitude"].values.min() >= -180


def test_positions_that_coincide_are_taken_as_they_are(write_granule, content):
    """As in 1C-R, where another swath's position is missing when its temperatures are."""
    for name in ("Latitude", "Longitude"):
        content[f"S2/{name}"] = content[f"S1/{name}"].copy()
        content[f"S2/{name}"][3, 4] = FILL
    found = radiometer.read(write_granule("x.h5", GMI, content, LONG_NAMES))["brightness_temperature"].values
    expected = content["S2/Tc"].copy()
    expected[3, 4] = np.nan
    np.testing.assert_array_equal(found[..., 9:], expected)


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, SCANS - 1), st.integers(1, SCANS))
def test_a_window_holds_what_the_whole_orbit_holds_there(write_granule, content, start, length):
    path = write_granule("x.h5", GMI, content, LONG_NAMES)
    window = slice(start, start + length)
    whole, part = radiometer.read(path), radiometer.read(path, window)
    assert part.identical(whole.isel(scan=window))


def test_one_group_alone_and_another_group_first(write_granule, content):
    path = write_granule("x.h5", GMI, content, LONG_NAMES)
    alone = radiometer.read(path, groups=("S1",))
    assert alone.sizes == {"scan": SCANS, "pixel": PIXELS, "channel": 9}
    onto = radiometer.read(path, groups=("S2", "S1"))
    np.testing.assert_array_equal(onto["latitude"].values, content["S2/Latitude"])
    np.testing.assert_array_equal(onto["brightness_temperature"].values[..., 9:], content["S2/Tc"])
    assert onto["channel"].values[0] == "10.65V"
    with pytest.raises(VigieError, match="has no swath 'S7'; expected S1, S2"):
        radiometer.read(path, groups=("S7",))


def test_fills_zeros_quality_and_interference_are_flagged(write_granule, content):
    content["S1/Tc"][0, 0] = FILL
    content["S1/Tc"][0, 1, 2] = 0.0
    content["S1/Tc"][0, 2, 0] = 312.0
    content["S1/Quality"][0, 3] = 3
    content["S1/Quality"][0, 0] = -1
    found = radiometer.read(write_granule("x.h5", GMI, content, LONG_NAMES), slice(0, 1), ("S1",))
    assert found["flags"].values[0, :5].tolist() == [
        FLAGS["nodata"],
        FLAGS["incomplete"],
        FLAGS["suspect"],
        FLAGS["suspect"],
        0,
    ]
    assert np.isnan(found["brightness_temperature"].values[0, 1, 2])


def test_channels_in_another_order_are_refused(write_granule, content):
    swapped = LONG_NAMES | {"S1/Tc@LongName": LONG_NAMES["S1/Tc@LongName"].replace("1) 10.65 GHz V", "1) 10.65 GHz H")}
    with pytest.raises(VigieError, match=r"S1/Tc has its channels in another order.*expected 10\.65V, 10\.65H"):
        radiometer.read(write_granule("x.h5", GMI, content, swapped))
    swapped = LONG_NAMES | {"S2/Tc@LongName": LONG_NAMES["S2/Tc@LongName"].replace("3) 183.31 +/-3", "3) 183.31 +/-7")}
    with pytest.raises(VigieError, match=r"S2/Tc has its channels in another order"):
        radiometer.read(write_granule("w.h5", GMI, content, swapped))
    content["S2/Tc"] = content["S2/Tc"][..., :3]
    with pytest.raises(VigieError, match="S2/Tc has other channels; found 3"):
        radiometer.read(write_granule("y.h5", GMI, content))


def test_what_is_missing_is_named(write_granule, content):
    for name in ("S1/Latitude", "S1/Quality", "S2/Tc", "S2/Longitude", "S1/ScanTime/Second"):
        with pytest.raises(VigieError, match=f"lacks the data set {name}"):
            radiometer.read(write_granule("x.h5", GMI, {k: v for k, v in content.items() if k != name}))
    with pytest.raises(VigieError, match="lacks the swath S2"):
        radiometer.read(write_granule("y.h5", GMI, {k: v for k, v in content.items() if not k.startswith("S2")}))
    with pytest.raises(VigieError, match="radiometer 'XYZ' is not declared"):
        radiometer.read(write_granule("z.h5", {**GMI, "InstrumentName": "XYZ"}, content))


@pytest.mark.parametrize(("name", "count"), {"GMI": 13, "TMI": 9, "SSMIS": 11, "AMSR2": 10, "ATMS": 9, "MHS": 5}.items())
def test_every_instrument_is_declared_whole(name, count):
    channels = instrument(name).channels()
    assert len({channel.name for channel in channels}) == len(channels) == count
    turning = name in ("ATMS", "MHS")
    assert all((channel.polarisation == "") == turning == np.isnan(channel.incidence_deg) for channel in channels)
    assert all(3 < channel.footprint_km < 80 for channel in channels)


@pytest.mark.parametrize("name", ["GMI", "TMI", "SSMIS", "AMSR2"])
def test_ellipses_are_beams_that_meet_the_ground_at_their_incidence(name):
    """A round beam draws an ellipse that is longer than wide by 1 / cos(incidence); manuals round to whole kilometres."""
    for group in instrument(name).swaths:
        for channel in group.channels:
            along, across = channel.axes_km
            assert along / across == pytest.approx(1 / np.cos(np.deg2rad(group.incidence_deg)), rel=0.1), channel


@pytest.mark.parametrize(
    ("name", "channel", "beam_deg", "altitude_km", "off_nadir_deg"),
    [
        ("GMI", "10.65V", 1.75, 407, 48.5),
        ("GMI", "18.70V", 1.00, 407, 48.5),
        ("GMI", "23.80V", 0.90, 407, 48.5),
        ("GMI", "89.00V", 0.40, 407, 48.5),
        ("GMI", "166.00V", 0.40, 407, 45.4),
        ("TMI", "10.65V", 3.68, 350, 49.0),
        ("TMI", "10.65H", 3.75, 350, 49.0),
        ("TMI", "19.35V", 1.90, 350, 49.0),
        ("TMI", "19.35H", 1.88, 350, 49.0),
        ("TMI", "21.30V", 1.70, 350, 49.0),
        ("TMI", "37.00V", 1.00, 350, 49.0),
        ("TMI", "85.50V", 0.42, 350, 49.0),
        ("AMSR2", "10.65V", 1.2, 700, 47.5),
        ("AMSR2", "23.80V", 0.75, 700, 47.5),
        ("AMSR2", "36.50V", 0.35, 700, 47.5),
        ("AMSR2", "89.00V", 0.15, 700, 47.5),
        ("ATMS", "23.80", 5.2, 824, 0.0),
        ("ATMS", "88.20", 2.2, 824, 0.0),
        ("ATMS", "165.50", 1.1, 824, 0.0),
        ("MHS", "157.00", 10 / 9, 833, 0.0),
    ],
)
def test_footprints_are_as_wide_as_published_beams(name, channel, beam_deg, altitude_km, off_nadir_deg):
    """Beams over the slant range, as NOAA's pages of the sensors (GMI, TMI, AMSR2, MHS) and NASA's SNPPATMSL1B list them."""
    radius, tilt = 6371.0, np.deg2rad(off_nadir_deg)
    orbit = radius + altitude_km
    slant = orbit * np.cos(tilt) - np.sqrt(radius**2 - (orbit * np.sin(tilt)) ** 2)
    declared = {
        described.name: one.axes_km[1]
        for group in instrument(name).swaths
        for one, described in zip(group.channels, group.described(), strict=True)
    }
    assert declared[channel] == pytest.approx(slant * np.deg2rad(beam_deg), rel=0.05)


@pytest.mark.parametrize(
    ("name", "published"),
    {
        "SSMIS": {"S1": "19V 19H 22V", "S2": "37V 37H", "S3": "150H 183+-1H 183+-3H 183+-7H", "S4": "91V 91H"},
        "AMSR2": {"S1": "10.65V 10.65H", "S2": "18.7V 18.7H", "S3": "23.8V 23.8H", "S4": "36.5V 36.5H", "S5": "89V 89H"},
        "ATMS": {
            "S1": "23.8V",
            "S2": "31.4V",
            "S3": "88.2V",
            "S4": "165.5H 183.31+-7H 183.31+-4.5H 183.31+-3H 183.31+-1.8H 183.31+-1H",
        },
        "MHS": {"S1": "89.0V 157.0V 183.31+-1H 183.31+-3H 190.31V"},
    }.items(),
)
def test_channels_stand_in_the_order_of_the_product(name, published):
    """As NASA describes GPM_1CF11SSMI and GPM_1CNPPATMS, and GPM-API lists AMSR2 and MHS; they truncate and round."""
    assert [group.group for group in instrument(name).swaths] == list(published)
    for group in instrument(name).swaths:
        for channel, said in zip(group.channels, published[group.group].split(), strict=True):
            frequency, sideband, polarisation = re.fullmatch(r"([\d.]+)(?:\+-([\d.]+))?([VH])", said).groups()
            assert channel.frequency_ghz == pytest.approx(float(frequency), abs=0.7), said
            assert channel.sideband_ghz == pytest.approx(float(sideband or 0), abs=0.45), said
            assert channel.polarisation in ("", polarisation), said


@pytest.mark.realdata
@pytest.mark.parametrize("pattern", ["1C.GPM.GMI*", "1C.TRMM.TMI*"])
def test_incidences_are_those_of_real_granules(samples, pattern):
    with h5py.File(next((samples / "precipitation" / "gpm_formats").glob(pattern))) as file:
        for group in instrument("GMI" if "GMI" in pattern else "TMI").swaths:
            angle = file[f"{group.group}/incidenceAngle"][()]
            assert np.median(angle[angle > 0]) == pytest.approx(group.incidence_deg, abs=0.1)


def test_nearest_without_known_positions_finds_none():
    gone = np.full((2, 2), np.nan)
    assert nearest((np.zeros((1, 3)), np.zeros((1, 3))), (gone, gone), 10.0).tolist() == [[-1, -1, -1]]


@pytest.mark.realdata
def test_a_real_tmi_granule_lies_where_gprof_lies(samples):
    folder = samples / "precipitation" / "gpm_formats"
    tmi = radiometer.read(next(folder.glob("1C.TRMM.TMI*")), groups=("S3",))
    rain = gprof.read(next(folder.glob("2A-CLIM.TRMM.TMI*")))
    np.testing.assert_array_equal(tmi["latitude"].values, rain["latitude"].values)
    assert tmi["brightness_temperature"].values[0, 0].tolist() == pytest.approx([259.49, 228.24])
    assert (tmi["flags"].values == 0).all()
    whole = radiometer.read(next(folder.glob("1C.TRMM.TMI*")))
    assert whole.sizes["channel"] == 9 and np.isfinite(whole["brightness_temperature"].values[..., :2]).all()
    assert np.nanmin(whole["brightness_temperature"]) == pytest.approx(89, abs=1)
    assert np.nanmax(whole["brightness_temperature"]) == pytest.approx(262, abs=1)


@pytest.mark.realdata
@pytest.mark.parametrize("pattern", ["1C.GPM.GMI*", "1C-R.GPM.GMI*"])
def test_real_granules_without_data_are_all_nodata(samples, pattern):
    found = radiometer.read(next((samples / "precipitation" / "gpm_formats").glob(pattern)))
    assert (found["flags"].values == FLAGS["nodata"]).all()
    assert np.isfinite(found["latitude"].values).all()
    assert str(found["time"].values[0]) == "2014-03-04T17:59:33.519000000"
