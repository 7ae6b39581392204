"""Thermal anomalies: what height and sunlight explain is found again, whatever the calibration, the sun and the tiling."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from vigie.core.cube import check
from vigie.core.scene import Band, Scene
from vigie.harmonize.levels import measured
from vigie.harmonize.reader import Levels, SceneReader
from vigie.harmonize.settings import HarmonizeSettings
from vigie.harmonize.thermal import ENOUGH, anomaly, explained_by, fit_trend
from vigie.harmonize.warp import whole

FRAME = GeoBox((60, 80), Affine(30, 0, 480_000, 0, -30, 3_100_000), "EPSG:32645")
TONGUE = (slice(20, 40), slice(30, 50))
COLD = -6.0
"""The tongue's surface against the ground beside it, K."""


def hills() -> np.ndarray:
    y, x = np.mgrid[:60, :80] * 30.0
    return 5000 + 300 * np.sin(x / 500) + 250 * np.cos(y / 400) + 0.1 * x


def sunlight(z: np.ndarray) -> np.ndarray:
    """Cosine of the angle between the sun (azimuth 135, elevation 40 degrees) and the surface, by plain geometry."""
    south, east = np.gradient(z, 30.0)
    normal = np.stack([-east, south, np.ones_like(z)]) / np.sqrt(1 + south**2 + east**2)
    sun = np.cos(np.radians(40)) * np.array([np.sin(np.radians(135)), np.cos(np.radians(135))])
    return sun[0] * normal[0] + sun[1] * normal[1] + np.sin(np.radians(40)) * normal[2]


def made(folder: Path, temperature: np.ndarray, z: np.ndarray) -> Scene:
    path = str(folder / "scene.tif")
    layout = {"driver": "GTiff", "height": 60, "width": 80, "count": 2, "dtype": "float32"}
    with rasterio.open(path, "w", crs="EPSG:32645", transform=FRAME.affine, **layout) as file:
        file.write(np.stack([temperature, z]).astype(np.float32))
    bands = (
        Band("thermal", "thermal", path, 1, 30.0, "K", 10.9, 0.6, nodata=-1.0),
        Band("elevation", "terrain", path, 2, 30.0, "m"),
    )
    return Scene("hot", "made", None, bands, "EPSG:32645", tuple(FRAME.affine)[:6], (60, 80), {})


@pytest.fixture
def scene(tmp_path):
    z = hills()
    temperature = 310 - 6.5 * z / 1000 + 12 * sunlight(z)
    temperature[TONGUE] += COLD
    return made(tmp_path, temperature, z)


def anomaly_of(reader: SceneReader) -> np.ndarray:
    return reader(whole(FRAME))["observation"].sel(band="thermal_anomaly").values


def test_a_cold_tongue_stands_out(scene):
    reader = measured(SceneReader(scene, FRAME))
    check(reader(whole(FRAME)))
    left = anomaly_of(reader)
    outside = np.ones(FRAME.shape, dtype=bool)
    outside[TONGUE] = outside[0] = outside[-1] = False
    outside[:, [0, -1]] = False
    inner = left[22:38, 32:48]
    # Without the trend, hills differ by more than the tongue does.
    assert reader(whole(FRAME))["observation"].sel(band="thermal").values[outside].std() > 2.5
    assert np.median(inner) - np.median(left[outside]) == pytest.approx(COLD, abs=0.6)
    assert left[outside].std() < 1.0 and inner.std() < 1.0


@pytest.mark.parametrize("window", [{"y": slice(0, 17), "x": slice(0, 80)}, {"y": slice(23, 60), "x": slice(41, 77)}])
def test_tiling_changes_no_bit(scene, window):
    reader = measured(SceneReader(scene, FRAME))
    part = reader(window)["observation"].sel(band="thermal_anomaly").values
    assert np.array_equal(part, anomaly_of(reader)[window["y"], window["x"]], equal_nan=True)


def test_a_trend_survives_the_cubes_notes(scene):
    from dataclasses import asdict
    from json import dumps, loads

    levels = measured(SceneReader(scene, FRAME)).levels
    assert len(levels.thermal) == 1 and Levels.from_dict(loads(dumps(asdict(levels)))) == levels


def test_without_terrain_or_thermal_there_is_no_anomaly(scene):
    none = measured(SceneReader(scene, FRAME, settings=HarmonizeSettings(terrain="none")))
    assert "thermal_anomaly" not in [b.name for b in none.bands]
    cold = replace(scene, bands=(replace(scene.bands[0], kind="pan"), scene.bands[1]))
    assert measured(SceneReader(cold, FRAME)).levels.thermal == ()


def test_missing_pixels_stay_missing_and_do_not_bend_the_trend(scene, tmp_path):
    before = measured(SceneReader(scene, FRAME)).levels.thermal[0][1]
    with rasterio.open(scene.bands[0].href, "r+") as file:
        values = file.read(1)
        values[:5] = -1.0
        file.write(values, 1)
    reader = measured(SceneReader(scene, FRAME))
    left = anomaly_of(reader)
    assert np.isnan(left[:5]).all() and np.isfinite(left[5:]).all()
    assert np.allclose(reader.levels.thermal[0][1][:2], before[:2], rtol=0.1)


@given(gain=st.floats(0.1, 100), offset=st.floats(-1000, 1000))
def test_calibration_scales_the_anomaly_and_no_more(gain, offset):
    rng = np.random.default_rng(0)
    x = explained_by(rng.uniform(3e3, 7e3, 400), rng.uniform(0, 50, 400), *np.sin([rng.uniform(0, 6, 400), np.ones(400)]))
    temperature = rng.normal(270, 8, 400)
    plain = anomaly(temperature, x, fit_trend([(temperature, x)]))
    other = gain * temperature + offset
    assert np.allclose(anomaly(other, x, fit_trend([(other, x)])), gain * plain, atol=1e-3 * gain + 1e-5 * abs(offset))


def test_pieces_fit_like_the_whole_and_too_little_is_not_fitted():
    rng = np.random.default_rng(1)
    x = explained_by(*(rng.uniform(low, high, 300) for low, high in ((3e3, 7e3), (0, 50), (-1, 1), (-1, 1))))
    temperature = rng.normal(270, 8, 300)
    oracle = np.linalg.lstsq(x.T, temperature, rcond=None)[0]
    assert np.allclose(fit_trend([(temperature[:100], x[:, :100]), (temperature[100:], x[:, 100:])]), oracle, rtol=1e-6)
    assert fit_trend([(temperature[: ENOUGH - 1], x[:, : ENOUGH - 1])]) is None
    assert fit_trend([]) is None


def test_flat_ground_has_a_trend_too():
    x = explained_by(np.full(200, 5000.0), np.zeros(200), np.zeros(200), np.zeros(200))
    trend = fit_trend([(np.full(200, 265.0), x)])
    assert np.allclose(anomaly(np.full(200, 265.0), x, trend), 0, atol=1e-4)
