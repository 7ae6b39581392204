"""Rain of others: GPROF, DPR of all versions, the combined product, IMERG; fills, phases, and figures of real granules."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest

from vigie.acquire.granules import dpr, gprof, imerg
from vigie.core.errors import VigieError
from vigie.core.swath import FLAGS

FILL = np.float32(-9999.9)


@pytest.fixture
def places(scan_times):
    """Positions and times of a small swath, of three scans and four pixels."""

    def make(group):
        latitude = np.linspace(-30, -29, 12, dtype=np.float32).reshape(3, 4)
        return {f"{group}/Latitude": latitude, f"{group}/Longitude": latitude + 180, **scan_times(group, 3)}

    return make


@pytest.fixture
def gprof_granule(write_granule, places):
    rate = np.full((3, 4), 1.5, np.float32)
    rate[0, 0] = FILL
    yes = np.ones((3, 4), np.int16)
    yes[0, :2] = -99, -9999
    zero = np.zeros((3, 4), np.int8)
    quality = zero.copy()
    quality[1, 1] = 2
    probability = np.full((3, 4), 40, np.int8)
    probability[0, 0] = -99
    content = {
        **places("S1"),
        "S1/surfacePrecipitation": rate,
        "S1/frozenPrecipitation": rate / 2,
        "S1/probabilityOfPrecip": probability,
        "S1/precipitationYesNoFlag": yes,
        "S1/qualityFlag": quality,
        "S1/pixelStatus": zero,
        "S1/L1CqualityFlag": zero,
    }
    header = {"AlgorithmID": "2AGPROFGMI", "InstrumentName": "GMI", "SatelliteName": "GPM"}
    return write_granule("g.h5", header, content)


def test_gprof_gives_rates_and_probabilities_with_both_fills_missing(gprof_granule):
    found = gprof.read(gprof_granule)
    assert np.isnan(found["rainfall_rate"].values[0, 0]) and found["rainfall_rate"].values[2, 3] == 1.5
    assert found["rainfall_rate"].attrs["units"] == "mm h-1"
    assert found["probability_of_rain"].values[2, 3] == pytest.approx(0.4) and np.isnan(
        found["probability_of_rain"].values[0, 0]
    )
    assert found["raining"].values[0].tolist() == [255, 255, 1, 1]
    assert found["flags"].values[0, 0] & FLAGS["nodata"] and found["flags"].values[1, 1] == FLAGS["suspect"]
    assert gprof.read(gprof_granule, slice(1, 2)).identical(found.isel(scan=slice(1, 2)))


def radar(places, group, orientation=0):
    rate = np.array([[0.0, 0.4, 2.0, FILL]] * 3, np.float32)
    return {
        **places(group),
        f"{group}/SLV/precipRateNearSurface": rate,
        f"{group}/SLV/phaseNearSurface": np.array([[255, 90, 216, 255]] * 3, np.uint8),
        f"{group}/PRE/elevation": np.zeros((3, 4), np.float32),
        f"{group}/scanStatus/dataQuality": np.array([[0, 0], [0, 1], [0, 0]], np.int8),
        f"{group}/scanStatus/SCorientation": np.full(3, orientation, np.int16),
    }


@pytest.mark.parametrize(
    ("algorithm", "group"), [("2ADPR", "FS"), ("2ADPR", "NS"), ("2AKu", "NS"), ("2AKa", "MS"), ("2AKu", "FS")]
)
def test_radar_rain_of_every_version_is_truth(write_granule, places, algorithm, group):
    header = {"AlgorithmID": algorithm, "InstrumentName": "DPR", "SatelliteName": "GPM"}
    found = dpr.read(write_granule("r.h5", header, radar(places, group, 180)))
    np.testing.assert_array_equal(found["truth"].values[0], np.array([0.0, 0.4, 2.0, np.nan], np.float32))
    assert found["phase"].values[0].tolist() == [0, 2, 1, 255]
    assert found["flags"].values.tolist() == [[0, 0, 0, 1], [4, 4, 4, 5], [0, 0, 0, 1]]
    assert (found.attrs["label_source"], found.attrs["orientation_deg"]) == ("dpr", [180])


def test_a_granule_without_the_swath_that_is_asked_for_says_what_it_has(write_granule, places):
    header = {"AlgorithmID": "2ADPR", "InstrumentName": "DPR", "SatelliteName": "GPM"}
    path = write_granule("r.h5", header, radar(places, "FS"))
    with pytest.raises(VigieError, match=r"lacks the swath MS; found 2ADPR V07A with groups \['FS'\]"):
        dpr.read(path, group="MS")


def combined(places, group, names):
    total = np.array([[0.0, 0.6, 2.0, FILL]] * 3, np.float32)
    return {
        **places(group),
        f"{group}/{names[0]}": total,
        f"{group}/{names[1]}": np.where(total < 0, FILL, total / 10),
        f"{group}/{names[2]}": np.array([[0.0, 0.0, names[3], FILL]] * 3, np.float32),
        f"{group}/scanStatus/dataQuality": np.zeros(3, np.int8),
        f"{group}/scanStatus/SCorientation": np.zeros(3, np.int16),
    }


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("KuGMI", ("nearSurfPrecipTotRate", "nearSurfPrecipTotRateSigma", "nearSurfPrecipLiqRate", 1.8)),
        ("NS", ("surfPrecipTotRate", "surfPrecipTotRateSigma", "surfLiqRateFrac", 0.9)),
    ],
)
def test_combined_rain_is_its_own_source_of_labels(write_granule, places, group, names):
    header = {"AlgorithmID": "2BCMB", "InstrumentName": "DPRGMI", "SatelliteName": "GPM"}
    found = dpr.read(write_granule("c.h5", header, combined(places, group, names)))
    assert found.attrs["label_source"] == "cmb"
    assert found["phase"].values[0].tolist() == [0, 2, 1, 255]
    np.testing.assert_allclose(found["rainfall_rate_error"].values[0], [0.0, 0.06, 0.2, np.nan], rtol=1e-6)


@pytest.mark.parametrize("name", ["precipitation", "precipitationCal"])
def test_imerg_comes_out_with_latitude_before_longitude(write_granule, name):
    rate = np.arange(12, dtype=np.float32).reshape(1, 4, 3)
    rate[0, 0, 0] = FILL
    content = {
        f"Grid/{name}": rate,
        "Grid/randomError": rate,
        "Grid/precipitationQualityIndex": rate,
        "Grid/lat": np.array([-1.0, 0.0, 1.0], np.float32),
        "Grid/lon": np.arange(4, dtype=np.float32),
        "Grid/time": np.array([643_507_200], np.int32),
    }
    said = {f"Grid/{each}@DimensionNames": "time,lon,lat" for each in (name, "randomError", "precipitationQualityIndex")}
    header = {"AlgorithmID": "3IMERGHH", "InstrumentName": "MERGED", "SatelliteName": "MULTI"}
    path = write_granule("i.h5", header, content, said)
    found = imerg.read(path)
    assert found["rainfall_rate"].dims == ("time", "latitude", "longitude")
    assert found["rainfall_rate"].sel(latitude=1, longitude=2).item() == 8.0
    assert np.isnan(found["rainfall_rate"].values[0, 0, 0])
    assert found["time"].values[0] == np.datetime64(datetime(1980, 1, 6) + timedelta(seconds=643_507_200))
    part = imerg.read(path, {"latitude": slice(1, 3), "longitude": slice(2, 4)})
    assert part.identical(found.isel(latitude=slice(1, 3), longitude=slice(2, 4)))


@pytest.mark.realdata
def test_the_real_swath_over_brisbane(samples):
    found = dpr.read(next((samples / "precipitation" / "swath_dpr").iterdir()))
    rate = found["truth"].values
    assert found.sizes == {"scan": 136, "pixel": 49}
    assert ((rate > 0.1).sum(), round(float(np.nanmax(rate)), 1)) == (1715, 52.3)
    assert (found.attrs["orientation_deg"], found.attrs["product"]) == ([180], "2AKu V05A")
    assert str(found["time"].values[0]) == "2014-12-06T09:50:02.500000000"
    assert set(np.unique(found["phase"].values[rate > 0])) == {1}


@pytest.mark.realdata
def test_real_labels_of_version_7_differ_on_the_same_footprints(samples):
    folder = samples / "precipitation" / "gpm_formats"
    one, other = dpr.read(next(folder.glob("2A.GPM.DPR*"))), dpr.read(next(folder.glob("2B.GPM*")))
    np.testing.assert_array_equal(one["latitude"].values, other["latitude"].values)
    assert float(one["truth"].max()) == pytest.approx(0.43, abs=0.005)
    assert float(other["truth"].max()) == pytest.approx(0.64, abs=0.005)
    assert np.unique(one["phase"].values).tolist() == np.unique(other["phase"].values).tolist() == [0, 2]
    gone = dpr.read(next(folder.glob("2B.GPM*")), group="KuKaGMI")
    assert np.isnan(gone["truth"].values).all() and np.isnan(gone["latitude"].values).all()
    assert dpr.read(next(folder.glob("2A.GPM.DPR*")), group="HS").sizes == {"scan": 10, "pixel": 10}


@pytest.mark.realdata
def test_real_gprof_and_imerg(samples):
    folder = samples / "precipitation" / "gpm_formats"
    rain = gprof.read(next(folder.glob("2A-CLIM*")))
    assert float(rain["rainfall_rate"].min()) == pytest.approx(0.0037, abs=5e-5)
    assert float(rain["rainfall_rate"].max()) == pytest.approx(0.0061, abs=5e-5)
    assert (float(rain["probability_of_rain"].min()), float(rain["probability_of_rain"].max())) == pytest.approx((0.06, 0.10))
    missing = gprof.read(next(folder.glob("2A.GPM.GMI*")))
    assert (missing["raining"].values == 255).all() and (missing["flags"].values & FLAGS["nodata"]).all()
    grid = imerg.read(next(folder.glob("3B-HHR*")))
    assert int(np.isfinite(grid["rainfall_rate"]).sum()) == 70 and float(grid["rainfall_rate"].max()) == 0
    assert str(grid["time"].values[0]) == "2000-06-01T00:00:00.000000000"
    assert (grid["latitude"].values[0], grid["longitude"].values[0]) == pytest.approx((-89.95, -179.95))
