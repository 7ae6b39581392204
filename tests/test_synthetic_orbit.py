"""Synthetic granules: the layout that every part agrees on, a real orbit's geometry, and files that read back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from vigie.core.swath import FLAGS, Channel, check
from vigie.physics.antenna import observe
from vigie.synthetic.orbit import GMI, Granule, ground, make_swath, save_swath, write_orbits
from vigie.synthetic.rain import Climate

GRANULE = Granule("test", seed=4, time="2020-07-01T12:00:00", start_deg=20.0, node_longitude_deg=170.0, scans=60, pixels=48)


@pytest.fixture(scope="module")
def swath() -> xr.Dataset:
    return make_swath(GRANULE, observe)


def gauge(
    state: Mapping[str, np.ndarray],
    channels: Sequence[Channel],
    spacing_km: tuple[float, float],
    nedt_k: Sequence[float],
    seed: int,
) -> np.ndarray:
    """An instrument that is quick: every channel shows the rain."""
    assert spacing_km == (4.5, 4.5)
    assert len(channels) == len(nedt_k)
    return np.repeat(200 + state["rain_rate"][..., None], len(channels), axis=-1).astype(np.float32)


def great_circle_km(latitude: np.ndarray, longitude: np.ndarray, axis: int) -> np.ndarray:
    """Distance between neighbours on the sphere (haversine)."""
    phi, lam = np.radians(latitude), np.radians(longitude)
    dphi, dlam = np.diff(phi, axis=axis), np.diff(lam, axis=axis)
    first, second = (np.take(phi, np.arange(*ends), axis=axis) for ends in ((0, phi.shape[axis] - 1), (1, phi.shape[axis])))
    return 2 * 6371.0 * np.arcsin(np.sqrt(np.sin(dphi / 2) ** 2 + np.cos(first) * np.cos(second) * np.sin(dlam / 2) ** 2))


def test_a_granule_is_laid_out_as_every_part_expects(swath: xr.Dataset) -> None:
    check(swath)
    assert dict(swath.sizes) == {"scan": 60, "pixel": 48, "channel": 13}
    assert swath.attrs["label_source"] == "simulated"
    assert swath["channel"].values.tolist() == [channel.name for channel in GMI]
    assert set(swath["group"].values) == {"test"}
    assert np.isfinite(swath["truth"]).all()
    assert all("units" in swath[name].attrs for name in swath.data_vars if name not in ("flags", "phase"))


def test_cells_lie_where_an_inclined_orbit_goes() -> None:
    latitude, longitude = ground(GRANULE)
    assert great_circle_km(latitude, longitude, axis=1) == pytest.approx(np.full((180, 47), 4.5), rel=1e-3)
    along = great_circle_km(latitude, longitude, axis=0)
    assert along == pytest.approx(np.full((179, 48), 4.5), rel=0.07)  # the Earth turns below: by 6 % of the satellite's speed
    assert abs(longitude).max() <= 180
    once = ground(Granule("long", 1, "2020-01-01", 0.0, 0.0, scans=3000, pixels=3))[0]
    assert once[:, 1].max() == pytest.approx(65.0, abs=0.1)
    assert once[:, 1].min() == pytest.approx(-65.0, abs=0.1)


def test_scans_follow_each_other_as_those_of_gmi(swath: xr.Dataset) -> None:
    assert swath["time"].values[0] == np.datetime64("2020-07-01T12:00:00")
    assert set(np.diff(swath["time"].values)) == {np.timedelta64(1875, "ms")}


def test_lost_scans_and_channels_are_flagged(swath: xr.Dataset) -> None:
    gone = np.isnan(swath["brightness_temperature"].values)
    assert (gone.all(axis=(1, 2))).sum() == 1
    assert ((swath["flags"].values & FLAGS["nodata"]) > 0).sum() == 48
    incomplete = (swath["flags"].values & FLAGS["incomplete"]) > 0
    assert 5 * 48 <= incomplete.sum() <= 6 * 48
    np.testing.assert_array_equal(incomplete, gone.any(-1) & ~gone.all(-1))


def test_the_instrument_sees_the_rain(swath: xr.Dataset) -> None:
    """Over open sea, through footprints and noise: rain warms the low channels and cools the high ones."""
    table = swath.where((swath["land_fraction"] == 0) & (swath["flags"] == 0)).stack(row=("scan", "pixel"))
    table = table.isel(row=np.isfinite(table["truth"].values))
    kelvin = table["brightness_temperature"]
    assert float(kelvin.min()) > 50
    assert float(kelvin.max()) < 310
    heavy, dry = (kelvin.isel(row=rows).mean("row") for rows in (table["truth"].values > 3, table["truth"].values == 0))
    change = (heavy - dry).to_series()
    assert (change[["10.65H", "18.70V", "18.70H", "36.64H"]] > 5).all()
    assert (change[["166.00V", "166.00H", "183.31+-7V"]] < -5).all()


def test_phase_follows_the_truth(swath: xr.Dataset) -> None:
    np.testing.assert_array_equal(swath["phase"].values > 0, swath["truth"].values >= 0.05)


def test_the_same_seed_is_the_same_granule_and_another_is_not(swath: xr.Dataset) -> None:
    xr.testing.assert_identical(swath, make_swath(GRANULE, observe))
    other = Granule("test", 5, GRANULE.time, 20.0, 170.0, scans=60, pixels=48)
    assert not np.array_equal(make_swath(other, observe)["truth"], swath["truth"])


def test_a_saved_granule_reads_back(swath: xr.Dataset, tmp_path: Path) -> None:
    save_swath(tmp_path / "one.nc", swath)
    again = xr.load_dataset(tmp_path / "one.nc", engine="h5netcdf")
    check(again)
    xr.testing.assert_equal(again, swath)
    assert again.attrs == swath.attrs


def test_orbits_of_two_climates_differ_in_warmth_alone(tmp_path: Path) -> None:
    now, then = (
        write_orbits(tmp_path / name, 1, 3, Climate(warming_k=k), gauge)[0] for name, k in (("now", 0.0), ("then", 4.0))
    )
    assert now.name == then.name == "synthetic-3-000.nc"
    cool, warm = (xr.load_dataset(path, engine="h5netcdf") for path in (now, then))
    xr.testing.assert_equal(cool[["latitude", "longitude", "time"]], warm[["latitude", "longitude", "time"]])
    ratio = warm["total_column_water_vapour"] / cool["total_column_water_vapour"]
    np.testing.assert_allclose(ratio.values, 1.07**4, rtol=1e-5)
    assert float(warm["truth"].max()) > float(cool["truth"].max())


def test_the_synthetic_earth_needs_no_torch() -> None:
    program = "import sys, vigie.synthetic.orbit, vigie.synthetic.rain; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
