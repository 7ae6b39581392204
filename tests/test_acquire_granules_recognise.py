"""Files are known by what they hold: every kind is found under a wrong name, and what nobody reads says what is known."""

from __future__ import annotations

import shutil

import h5py
import numpy as np
import pytest

from vigie.acquire.granules import dpr
from vigie.acquire.granules.recognise import KNOWN, kind, open_swath
from vigie.core.errors import VigieError
from vigie.core.swath import check


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    {
        "1CGMI": "radiometer",
        "2AGPROFGMI": "gprof",
        "2ADPR": "radar",
        "2AKu": "radar",
        "2BCMB": "radar",
        "3IMERGHH": "grid",
    }.items(),
)
def test_granules_are_known_by_their_header(write_granule, algorithm, expected):
    header = {"AlgorithmID": algorithm, "InstrumentName": "X", "SatelliteName": "Y"}
    assert kind(write_granule("holiday.jpg", header, {})) == expected


def test_what_nobody_reads_says_what_is_known(tmp_path, write_granule):
    (tmp_path / "page.HDF5").write_text("<html>")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.zeros(2)
    product = write_granule("p.h5", {"AlgorithmID": "1BGMI", "InstrumentName": "GMI", "SatelliteName": "GPM"}, {})
    for path, found in {
        tmp_path / "page.HDF5": "begins with b'<html>'",
        tmp_path / "other.h5": "without FileHeader",
        product: "1BGMI",
    }.items():
        with pytest.raises(VigieError, match=found) as caught:
            kind(path)
        assert all(told in str(caught.value) for told in KNOWN.values()) and "\n" not in str(caught.value)
    with pytest.raises(VigieError, match="does not exist"):
        open_swath(tmp_path / "nothing")
    grid = write_granule("g.h5", {"AlgorithmID": "3IMERGHH", "InstrumentName": "X", "SatelliteName": "Y"}, {})
    with pytest.raises(VigieError, match="is a grid and no swath"):
        open_swath(grid)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("pattern", "expected", "source"),
    [
        ("gpm_formats/1C.TRMM*", "radiometer", ""),
        ("gpm_formats/1C-R*", "radiometer", ""),
        ("gpm_formats/2A-CLIM*", "gprof", ""),
        ("gpm_formats/2A.GPM.DPR*", "radar", "dpr"),
        ("gpm_formats/2B*", "radar", "cmb"),
        ("swath_dpr/*", "radar", ""),
        ("gmi_pairs/era5_phase*", "pairs", "era5"),
        ("swath_tb/*amsr2*", "cyclone", ""),
    ],
)
def test_real_files_open_whatever_they_are(samples, pattern, expected, source):
    path = next((samples / "precipitation").glob(pattern))
    assert kind(path) == expected
    swath = open_swath(path, slice(2, 6), source)
    assert swath.sizes["scan"] == 4
    if "brightness_temperature" in swath:
        check(swath)


@pytest.mark.realdata
def test_a_real_granule_that_was_renamed_opens_and_its_labels_cannot_be_renamed(samples, tmp_path):
    path = next((samples / "precipitation" / "gpm_formats").glob("2B*"))
    renamed = shutil.copy(path, tmp_path / "radar.bin")
    assert open_swath(renamed).identical(dpr.read(path))
    with pytest.raises(VigieError, match="labels come from elsewhere; found cmb; expected label_source 'dpr'"):
        open_swath(renamed, label_source="dpr")
