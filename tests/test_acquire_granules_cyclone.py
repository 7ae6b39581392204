"""Images of tropical cyclones from MATLAB structs: channels, times, positions; small ones written here, and two real ones."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from vigie.acquire.granules import cyclone
from vigie.core.errors import VigieError
from vigie.core.swath import FLAGS


@pytest.fixture
def write(tmp_path):
    def writer(name="20200208T061548_amsr2_37.mat", sensor="AMSR2", **change):
        latitude, longitude = np.mgrid[-20.0:-17.0, 178.0:182.0]
        image = {
            "sensorType": sensor,
            "timeArray": np.array([737829.25, 737829.5, 737829.75]),
            "imgCenterLat": np.zeros((0,), np.uint8),
            "latMx": latitude + 0.1,
            "lonMx": longitude - 360,
            "rawLatMx": latitude,
            "rawLonMx": longitude - 360,
            "bthMx": np.full(latitude.shape, 180.0),
            "btvMx": np.full(latitude.shape, 230.0),
            **change,
        }
        savemat(tmp_path / name, {"mi": {key: value for key, value in image.items() if value is not None}})
        return tmp_path / name

    return writer


def test_an_image_has_vertical_then_horizontal_of_its_frequency(write):
    vertical = np.full((3, 4), 230.0)
    vertical[0, 0], vertical[0, 1] = 0.0, 340.0
    found = cyclone.read(write(btvMx=vertical))
    assert found["channel"].values.tolist() == ["36.50V", "36.50H"]
    assert found["brightness_temperature"].values[1, 1].tolist() == [230.0, 180.0]
    assert found["flags"].values[0, :3].tolist() == [FLAGS["incomplete"], FLAGS["suspect"], 0]
    assert found["longitude"].values[0].tolist() == [178.0, 179.0, -180.0, -179.0]
    assert (found.attrs["platform"], found.attrs["largest_parallax_deg"]) == ("GCOMW1", pytest.approx(0.1))
    assert str(found["time"].values[1]) == "2020-02-08T12:00:00.000000000"
    assert found["group"].values.tolist() == ["2020-02-08"] * 3


@pytest.mark.parametrize(
    ("name", "sensor", "channel"),
    [
        ("a_85.mat", "SSMIS-18", "91.66V"),
        ("a_37.mat", "SSMIS-17", "37.00V"),
        ("a_89.mat", "AMSR2", "89.00V"),
        ("a_85.mat", "TMI", "85.50V"),
    ],
)
def test_a_role_stands_for_the_true_frequency(write, name, sensor, channel):
    assert cyclone.read(write(name, sensor))["channel"].values[0] == channel


def test_a_role_can_be_said_and_must_be_told(write):
    assert cyclone.read(write("image.mat"), role="89")["frequency_ghz"].values.tolist() == [89.0, 89.0]
    with pytest.raises(VigieError, match="nobody says which frequency it holds; found 'image'"):
        cyclone.read(write("image.mat"))
    with pytest.raises(VigieError, match="radiometer 'WINDSAT' is not declared"):
        cyclone.read(write(sensor="WindSat"))
    with pytest.raises(VigieError, match="ATMS has no pair of channels near 37 GHz"):
        cyclone.read(write(sensor="ATMS"))


def test_what_is_no_image_is_refused(tmp_path, write):
    with pytest.raises(VigieError, match=r"is no image of a cyclone.*expected mi\.btvMx"):
        cyclone.read(write(btvMx=None))
    savemat(tmp_path / "x_37.mat", {"other": 1})
    with pytest.raises(VigieError, match="found no struct"):
        cyclone.read(tmp_path / "x_37.mat")
    (tmp_path / "y_37.mat").write_bytes(write().read_bytes()[:300])
    with pytest.raises(VigieError, match="cannot be read"):
        cyclone.read(tmp_path / "y_37.mat")


@given(st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1)))
def test_serial_dates_agree_with_the_calendar(moment):
    days = moment.toordinal() + 366 + (moment - datetime.combine(moment.date(), datetime.min.time())) / timedelta(days=1)
    apart = cyclone.from_datenum(np.array([days]))[0] - np.datetime64(moment, "ns")
    assert abs(apart) <= np.timedelta64(1, "ms")


@pytest.mark.realdata
def test_two_real_images_of_one_storm(samples):
    folder = samples / "precipitation" / "swath_tb"
    early, late = (cyclone.read(path) for path in sorted(folder.iterdir()))
    assert (dict(early.sizes), dict(late.sizes)) == (
        {"scan": 228, "pixel": 243, "channel": 2},
        {"scan": 187, "pixel": 180, "channel": 2},
    )
    assert (early["channel"].values[0], late["channel"].values[0]) == ("36.50V", "91.66V")
    assert str(early["time"].values[0])[:16] == "2020-02-08T06:12" and str(late["time"].values[0])[:16] == "2020-02-08T09:37"
    assert (early.attrs["platform"], late.attrs["platform"]) == ("GCOMW1", "F18")
    assert early.attrs["largest_parallax_deg"] == 0 and late.attrs["largest_parallax_deg"] == pytest.approx(0.12, abs=0.01)
    for image, horizontal, vertical in ((early, (139, 298), (208, 310)), (late, (178, 295), (184, 298))):
        lowest, highest = (
            image["brightness_temperature"].min(("scan", "pixel")),
            image["brightness_temperature"].max(("scan", "pixel")),
        )
        assert (np.rint(lowest[1]), np.rint(highest[1])) == horizontal and (np.rint(lowest[0]), np.rint(highest[0])) == vertical
