"""What is known to be wrong in the real files: what the catalogue counts of each, against counts made on the files by hand."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from vigie.acquire.granules import cyclone, dpr, gprof, pairs, pps, radiometer
from vigie.acquire.granules.labels import open_labels
from vigie.acquire.swath_sources import GranuleSourceSettings, granule_of
from vigie.core.errors import VigieError
from vigie.core.swath import FLAGS
from vigie.learn.swath_folds import SwathFoldSettings, fold_of_pixels
from vigie.verify.drift import fit_mahalanobis

pytestmark = pytest.mark.realdata


@pytest.fixture
def folder(samples):
    return samples / "precipitation"


def catalogued(path: Path, source: str = ""):
    return granule_of(path, GranuleSourceSettings(files=(str(path),), label_source=source))


COUNTED = {
    # trap: file, source of labels, and what the catalogue counts
    "1 missing ancillary of the radar's rates": ("dpr_rain_rate", {"no_ancillary": 173}),
    "1 missing ancillary of its phases": ("dpr_phase", {"no_ancillary": 210}),
    "1 missing ancillary of the mixed table": ("mixed_rain_rate", {"no_ancillary": 149}),
    "1 none is missing in ERA5's": ("era5_rain_rate", {"no_ancillary": 0}),
    "2 rows without temperatures": ("era5_phase", {"dropped": 2}),
    "2 a row without temperatures": ("era5_rain_rate", {"dropped": 1}),
    "4 an elevation above every summit": ("era5_phase", {"elevation_masked": 1}),
    "4 the shore of the Dead Sea is none": ("dpr_rain_rate", {"elevation_masked": 0}),
    "6 simulated rain in a column of the radar's name": ("era5_rain_rate", {"no_truth": 0}),
    "7 duplicates of rates": ("dpr_rain_rate", {"duplicates": 23}),
    "7 duplicates of phases": ("dpr_phase", {"duplicates": 11}),
    "7 duplicates of snow": ("cpr_snow_rate", {"duplicates": 97}),
}


@pytest.mark.parametrize("trap", COUNTED)
def test_traps_of_tables_are_counted_in_the_catalogue(folder, trap):
    name, expected = COUNTED[trap]
    source = name.partition("_")[0]
    found = catalogued(folder / "gmi_pairs" / f"{name}_open.npz", source)
    assert {key: found.counts[f"count_{key}"] for key in expected} == expected
    assert (found.label_source, found.rain) == (source, name.endswith("rate"))


@pytest.mark.parametrize("name", ["dpr_rain_rate", "dpr_phase", "era5_phase", "cpr_phase"])
def test_traps_2_3_and_5_interference_fills_and_what_is_below_zero_are_counted(folder, name):
    path = folder / "gmi_pairs" / f"{name}_open.npz"
    found, table = catalogued(path, name.partition("_")[0]).counts, pairs.load(path)
    kept = np.all([table[channel] > 50 for channel in pairs.CHANNELS], axis=0)
    there = kept & (table["tcwv"] != 0)
    high = np.any([table[c] > (300 if c in ("10v", "10h") else 330) for c in pairs.CHANNELS], axis=0)
    assert found["count_suspect"] == int((high & kept).sum()) > 0
    assert found["count_convective_inhibition_masked"] == int((table["cin"][there] < 0).sum()) > 0
    assert found["count_sea_ice_fraction_masked"] == int((table["siconc"][there] < 0).sum())
    assert found["count_soil_moisture_rounded"] == int((table["swvl1"][there] < 0).sum())


def test_traps_7_and_8_rows_that_tables_share_are_held_out_together(folder):
    """Days are the groups of tables, and a shared row has one day: what tests in one table teaches nothing in another."""
    names = ("mixed_rain_rate", "dpr_rain_rate", "era5_rain_rate")
    swaths = [pairs.read(folder / "gmi_pairs" / f"{name}_open.npz", name.partition("_")[0]) for name in names]
    for settings in (SwathFoldSettings(by="day", count=3), SwathFoldSettings(by="day", test_days=(15, 21))):
        folds = [part.ravel() for part in fold_of_pixels(swaths, settings)]
        keys = [pairs.row_keys(swath["brightness_temperature"].values).tolist() for swath in swaths]
        known = [dict(zip(key, fold.tolist(), strict=True)) for key, fold in zip(keys, folds, strict=True)]
        for other, shared in ((1, 291), (2, 355)):
            both = known[0].keys() & known[other].keys()
            assert len(both) == shared and all(known[0][key] == known[other][key] for key in both)


GRANULES = {
    # traps 10 to 15: file, and what its footprints lack
    "10 and 11 rain that is all fill": ("2A.GPM.GMI*", {"nodata": 100}),
    "12 swaths of TMI at places of their own": ("1C.TRMM.TMI*", {"nodata": 0, "suspect": 0}),
    "14 groups of version 7": ("2A.GPM.DPR*", {"nodata": 0, "no_truth": 0}),
    "15 the combined product": ("2B.GPM*", {"nodata": 0, "no_truth": 0}),
}


@pytest.mark.parametrize("trap", GRANULES)
def test_traps_of_granules_are_counted_in_the_catalogue(folder, trap):
    pattern, expected = GRANULES[trap]
    found = catalogued(next((folder / "gpm_formats").glob(pattern)))
    assert {key: found.counts[f"count_{key}"] for key in expected} == expected
    assert found.label_source == {"2A.GPM.DPR*": "dpr", "2B.GPM*": "cmb"}.get(pattern, "")


@pytest.mark.parametrize("pattern", ["1C.GPM.GMI*", "1C-R.GPM.GMI*"])
def test_traps_10_and_11_a_granule_that_is_all_fill_is_refused(folder, pattern):
    with pytest.raises(VigieError, match="10 x 10 footprints, all of them missing"):
        catalogued(next((folder / "gpm_formats").glob(pattern)))


def test_trap_10_no_fill_is_equal_to_what_is_declared(folder):
    with h5py.File(next((folder / "gpm_formats").glob("1C.GPM.GMI*"))) as file:
        stored = file["S1/Tc"][:]
    assert not (stored.astype(np.float64) == -9999.9).any() and pps.is_missing(stored).all()


def test_trap_11_quality_and_yes_no_of_the_empty_granule(folder):
    with h5py.File(next((folder / "gpm_formats").glob("2A.GPM.GMI*"))) as file:
        assert set(np.unique(file["S1/precipitationYesNoFlag"][:])) == {-99}
    rain = gprof.read(next((folder / "gpm_formats").glob("2A.GPM.GMI*")))
    assert (rain["raining"].values == 255).all() and np.isnan(rain["probability_of_rain"].values).all()
    with h5py.File(next((folder / "gpm_formats").glob("1C-R.GPM.GMI*"))) as file:
        assert (file["S1/Quality"][0, 0], file["S2/Quality"][0, 0]) == (-1, -10)
        assert (file["S2/Latitude"][:] < -9000).all()


def test_trap_12_every_swath_of_tmi_lies_elsewhere_and_is_brought(folder):
    path = next((folder / "gpm_formats").glob("1C.TRMM.TMI*"))
    places = [radiometer.read(path, groups=(group,))["latitude"].values for group in ("S1", "S2", "S3")]
    assert all(places[0].shape != other.shape or (places[0] != other).any() for other in places[1:])
    assert radiometer.read(path).attrs["footprints_of"] == "S1"


def test_traps_13_and_14_an_instrument_that_flies_backwards_in_version_5(folder):
    found = dpr.read(next((folder / "swath_dpr").iterdir()))
    assert found.attrs["orientation_deg"] == [180] and found.attrs["swath"].endswith("-NS")


def test_traps_15_one_footprint_has_two_rates(folder):
    one, other = (dpr.read(next((folder / "gpm_formats").glob(pattern))) for pattern in ("2A.GPM.DPR*", "2B.GPM*"))
    assert (one["truth"].values != other["truth"].values).any()
    assert {one.attrs["label_source"], other.attrs["label_source"]} == {"dpr", "cmb"}


def test_traps_16_and_17_times_of_imerg_and_of_matlab(folder):
    reader = open_labels(str(next((folder / "gpm_formats").glob("3B-HHR*"))))
    assert reader.times.tolist() == np.array(["2000-06-01T00:15"], "datetime64[ns]").tolist()
    for path in (folder / "swath_tb").iterdir():
        image, found = cyclone.read(path), catalogued(path)
        assert str(image["time"].values[0])[:10] == "2020-02-08" and np.abs(image["longitude"].values).max() <= 180
        missing = (image["flags"].values & FLAGS["nodata"]) != 0
        assert found.counts["count_nodata"] == int(missing.sum()) and found.begin.startswith("2020-02-08")


def test_trap_22_rain_below_zero_of_a_reanalysis_is_zero_and_units_are_its_own(folder):
    reader = open_labels(str(folder / "climate" / "daily_surface_cancities_1990-1993.nc"), "era5")
    year = np.datetime64("1990-01-01", "ns"), np.datetime64("1990-12-31", "ns")
    found = np.concatenate([field.rate for field in reader.fields(year, (-90.0, 90.0))])
    with xr.open_dataset(folder / "climate" / "daily_surface_cancities_1990-1993.nc") as file:
        stored = file["pr"].transpose("time", "location").values
    assert (stored < 0).sum() == 234
    stored = stored[:365]
    assert (stored < 0).any() and found.min() == 0
    np.testing.assert_allclose(found, np.maximum(stored, 0) * 3600, rtol=1e-6)


def test_traps_24_and_25_published_statistics_are_no_covariance_and_not_of_these_scenes(folder):
    """Nothing of vigie reads them: what is familiar is measured on the footprints that are learnt from."""
    with xr.open_dataset(folder / "reference_stats" / "obs_gmi.nc") as published:
        covariance, mean = published["cov"].values.astype(np.float64), published["mean"].values
    assert not np.allclose(covariance, covariance.T)
    upper = np.triu(covariance) + np.triu(covariance, 1).T
    assert np.linalg.eigvalsh(upper).min() < -1 and np.linalg.eigvalsh(covariance[:9, :9]).min() > 0
    rows = pairs.read(folder / "gmi_pairs" / "dpr_phase_open.npz", "dpr")["brightness_temperature"].values[:, 0]
    warmer = mean - rows.mean(axis=0)
    assert [round(float(warmer[at])) for at in (0, 1, 7)] == [62, 100, 14]
    assert np.linalg.eigvalsh(fit_mahalanobis(rows.astype(np.float64)).precision).min() > 0
