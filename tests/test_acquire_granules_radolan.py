"""RADOLAN: both formats on one grid, nodata before scaling, north up; small composites written here, and real ones."""

from __future__ import annotations

import gzip
import tarfile

import numpy as np
import pytest
from pyproj import Transformer

from vigie.acquire.files import list_files
from vigie.acquire.granules import radolan
from vigie.core.errors import VigieError

HEADER = b"RW102050100000814BY1620134VS 3SW   2.13.1PR E-01INT  60GP 900x 900MS 62<boo,ros,emd> "


def composite(words, header=HEADER):
    return header + b"\x03" + words.astype("<u2").tobytes()


@pytest.fixture
def words():
    made = np.full((900, 900), 0x29C4, np.uint16)
    made[0, 0], made[0, 1], made[899, 899] = 386, 0x100A, 0x800A
    return made


def test_the_first_stored_row_is_the_southern_one(tmp_path, words):
    (tmp_path / "rw.bin").write_bytes(composite(words))
    (tmp_path / "rw.gz").write_bytes(gzip.compress(composite(words)))
    found = radolan.read_binary(tmp_path / "rw.bin")
    assert found.identical(radolan.read_binary(tmp_path / "rw.gz"))
    amount = found["rainfall_amount"]
    assert amount.values[-1, :2].tolist() == pytest.approx([38.6, 1.0]) and np.isnan(amount.values[0, 0])
    assert int(np.isfinite(amount).sum()) == 2 and float(amount.max()) < 250
    assert float(amount["y"][0]) > float(amount["y"][-1])
    assert str(found["time"].values) == "2014-08-10T20:50:00.000000000" and found.attrs["interval_hours"] == 1.0


def test_the_grid_lies_where_the_format_says():
    """Corners of the national composite as the format description gives them, in degrees."""
    back = Transformer.from_crs(radolan.CRS, "+proj=longlat +R=6370040", always_xy=True)
    west, south, east, north = radolan.grid().boundingbox
    for (x, y), expected in {(west, south): (3.5889, 46.9526), (east, north): (15.7208, 54.7405)}.items():
        assert back.transform(x, y) == pytest.approx(expected, abs=2e-4)


def test_ascii_and_binary_of_one_field_are_equal(tmp_path, words):
    (tmp_path / "rw.bin").write_bytes(composite(words))
    binary = radolan.read_binary(tmp_path / "rw.bin")["rainfall_amount"]
    tenths = np.nan_to_num(np.rint(binary.values * 10), nan=-1).astype(int)
    lines = ["ncols 900", "nrows 900", "xllcorner -523462", "yllcorner -4658645", "cellsize 1000", "NODATA_value -1"]
    text = "\n".join([*lines, *(" ".join(map(str, row)) for row in tenths.tolist())])
    (tmp_path / "RW_20140810-2050.asc").write_text(text)
    found = radolan.read_ascii(str(tmp_path / "RW_20140810-2050.asc"))
    np.testing.assert_allclose(found["rainfall_amount"].values, binary.values, rtol=1e-6)
    assert str(found["time"].values) == "2014-08-10T20:50:00.000000000"
    (tmp_path / "nameless.asc").write_text(text)
    assert np.isnat(radolan.read_ascii(str(tmp_path / "nameless.asc"))["time"].values)
    (tmp_path / "cut.asc").write_text(text[:5000])
    with pytest.raises(VigieError, match="is cut short"):
        radolan.read_ascii(str(tmp_path / "cut.asc"))
    (tmp_path / "moved.asc").write_text(text.replace("-523462", "0"))
    with pytest.raises(VigieError, match="is no RADOLAN grid"):
        radolan.read_ascii(str(tmp_path / "moved.asc"))


def test_what_is_no_composite_is_refused(tmp_path, words):
    for content, expected in {
        b"GIF89a": "is no RADOLAN composite",
        composite(words)[:-10]: "is not a whole composite",
        composite(words, HEADER.replace(b"E-01", b"E-02")): "precision E-02",
        composite(words, HEADER.replace(b"900x 900", b"450x 450")): "found 450 x 450",
        b"\x1f\x8b\x08\x00cut": "is damaged",
    }.items():
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(VigieError, match=expected):
            radolan.read_binary(tmp_path / "x")
    with pytest.raises(VigieError, match="does not exist"):
        radolan.read_binary(tmp_path / "nothing")


@pytest.mark.realdata
def test_real_composites(samples):
    folder = samples / "precipitation" / "rain_fields"
    hour, day = (radolan.read_binary(next(folder.glob(f"raa01-{product}*"))) for product in ("rw", "sf"))
    rain = hour["rainfall_amount"].values
    assert float(np.nanmax(rain)) == pytest.approx(38.6, abs=0.01)
    assert float((rain[np.isfinite(rain)] >= 0.0999).mean()) == pytest.approx(0.33, abs=0.01)
    assert str(hour["time"].values)[:16] == "2014-08-10T20:50"
    assert float(day["rainfall_amount"].max()) == pytest.approx(109.5, abs=0.01)
    assert (str(day["time"].values)[:16], day.attrs["interval_hours"]) == ("2013-05-27T00:50", 24.0)


@pytest.mark.realdata
def test_real_grids_inside_their_archive(samples, tmp_path):
    archive = samples / "precipitation" / "rain_fields" / "RW-20221018.tar.gz"
    hrefs = list_files(archive)
    assert len(hrefs) == 24
    with tarfile.open(archive) as packed:
        member = packed.extractfile(packed.getmembers()[0])
        expected = np.loadtxt(member, skiprows=6)
    found = radolan.read_ascii(hrefs[0])
    np.testing.assert_allclose(found["rainfall_amount"].values, np.where(expected < 0, np.nan, expected / 10), rtol=1e-6)
    assert 0.1575 <= float(np.isnan(found["rainfall_amount"]).mean()) <= 0.1815
    assert str(found["time"].values)[:16] == "2022-10-18T00:50"
