"""Granules of the PPS: what they say of themselves, fills, times, and errors that fit in one line."""

from __future__ import annotations

from datetime import datetime, timedelta

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vigie.acquire.granules import pps
from vigie.core.errors import VigieError

GMI = {"AlgorithmID": "1CGMI", "InstrumentName": "GMI", "SatelliteName": "GPM"}


def test_the_header_tells_the_product_whatever_the_file_is_called(write_granule):
    with pps.opened(write_granule("renamed.bin", GMI, {})) as file:
        found = pps.header(file)
    assert (found.product, found.orbit, found.sensor, found.empty) == ("1CGMI V07A", "GPM-000123", "GMI", False)


def test_a_header_written_as_text_reads_the_same(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.attrs["FileHeader"] = "AlgorithmID=2BCMB;\nInstrumentName=DPRGMI;\nSatelliteName=GPM;\nProductVersion=V07A;\n"
        assert pps.header(file).product == "2BCMB V07A"


def told(caught) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_no_granule_is_refused_in_one_line(tmp_path, write_granule):
    (tmp_path / "text.HDF5").write_text("<html>Please log in</html>")
    whole = write_granule("whole.HDF5", GMI, {"S1/Tc": np.zeros((200, 200), np.float32)})
    (tmp_path / "cut.HDF5").write_bytes(whole.read_bytes()[:40_000])
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["temperature"] = np.zeros(3)
    for name, expected in {
        "nothing.HDF5": "does not exist",
        "text.HDF5": "is not HDF5",
        "cut.HDF5": "cannot be read.*truncated",
        "foreign.h5": "not a granule of the PPS",
    }.items():
        with pytest.raises(VigieError, match=expected) as caught, pps.opened(tmp_path / name) as file:
            pps.header(file)
        told(caught)


@pytest.mark.parametrize("key", ["AlgorithmID", "InstrumentName", "SatelliteName", "ProductVersion"])
def test_a_header_without_a_key_names_it(write_granule, key):
    with pytest.raises(VigieError, match=f"lacks {key}"), pps.opened(write_granule("x.h5", {**GMI, key: ""}, {})) as file:
        pps.header(file)


def test_another_product_and_an_empty_granule_are_refused(write_granule):
    other, empty = write_granule("x.h5", GMI, {}), write_granule("y.h5", {**GMI, "EmptyGranule": "EMPTY"}, {})
    with pytest.raises(VigieError, match="another product; found 1CGMI V07A; expected one of 2ADPR"), pps.opened(other) as file:
        pps.expect(file, ("2ADPR",))
    with pytest.raises(VigieError, match="holds no data"), pps.opened(empty) as file:
        pps.expect(file, ("1C",))


def test_a_missing_group_and_a_missing_data_set_are_named(write_granule):
    path = write_granule("x.h5", GMI, {"S1/Latitude": np.zeros((3, 2), np.float32)})
    with pps.opened(path) as file:
        with pytest.raises(VigieError, match=r"lacks the swath FS or NS; found 1CGMI V07A with groups \['S1'\]"):
            pps.swath_group(file, ("FS", "NS"))
        with pytest.raises(VigieError, match=r"lacks the data set S1/Tc; found \['Latitude'\]"):
            pps.measured(file, "S1/Tc")
        with pytest.raises(VigieError, match="S2/Tc; found no such group"):
            pps.stored(file, "S2/Tc")


def test_fills_become_nan_and_a_window_is_read_alone(write_granule):
    fill = np.float32(-9999.9)
    assert float(fill) != -9999.9  # why equality fails
    stored = {
        "S1/Tc": np.array([[fill, 200.0], [-1111.0, np.nan], [210.0, 220.0]], np.float32),
        "S1/p": np.array([-99, 7, 8], np.int8),
    }
    with pps.opened(write_granule("x.h5", GMI, stored)) as file:
        np.testing.assert_array_equal(pps.measured(file, "S1/Tc"), [[np.nan, 200], [np.nan, np.nan], [210, 220]])
        np.testing.assert_array_equal(pps.measured(file, "S1/Tc", slice(2, 3)), [[210, 220]])
        np.testing.assert_array_equal(pps.measured(file, "S1/p"), [np.nan, 7, 8])


@given(st.datetimes(datetime(1997, 1, 1), datetime(2040, 1, 1)), st.integers(0, 999))
def test_scan_times_agree_with_the_calendar(moment, milli):
    parts = (moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second, milli)
    names = ("Year", "Month", "DayOfMonth", "Hour", "Minute", "Second", "MilliSecond")
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        for name, value in zip(names, parts, strict=True):
            file[f"S1/ScanTime/{name}"] = np.array([value, -99 if name == "Month" else value], np.int16)
        found = pps.scan_time(file, "S1")
    exact = moment.replace(microsecond=0) + timedelta(milliseconds=milli)
    assert found[0] == np.datetime64(exact, "ns")
    assert np.isnat(found[1])


def test_windows_in_steps_or_beyond_the_swath_are_refused(write_granule):
    with pps.opened(write_granule("x.h5", GMI, {"S1/Latitude": np.zeros((5, 2), np.float32)})) as file:
        assert pps.scans(file, "S1") == (0, 5)
        assert pps.scans(file, "S1", slice(3, 99)) == (3, 5)
        for window in (slice(0, 5, 2), slice(7, 9)):
            with pytest.raises(VigieError, match=r"expected scans within 0\.\.5"):
                pps.scans(file, "S1", window)
