"""The synthetic Earth: the same for the same seed, ice that shrinks, lakes below it, files that real readers read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio

from vigie.acquire.sources import SourceSettings, gather
from vigie.synthetic.files import sensor_file, write_film, write_multispectral
from vigie.synthetic.glaciers import CLEAN_ICE, DEBRIS, LAND, WATER, Area
from vigie.synthetic.terrain import hillshade, noise, slope_deg

AREA = Area("test", seed=29, size=256)


def test_the_same_seed_is_the_same_earth_and_another_is_not() -> None:
    one, again = (Area("a", seed=5, size=64).reflectance(2000, 8)[0] for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, Area("a", seed=6, size=64).reflectance(2000, 8)[0])


def test_every_class_is_there_and_ice_shrinks() -> None:
    then, now = AREA.classes(1975), AREA.classes(2020)
    assert set(np.unique(then)) == {LAND, CLEAN_ICE, DEBRIS, WATER}
    ice = [np.isin(classes, (CLEAN_ICE, DEBRIS)).mean() for classes in (then, now)]
    assert 0.05 < ice[1] < ice[0] < 0.6


def test_debris_is_low_and_gentle_and_ice_is_high() -> None:
    classes, z = AREA.classes(2000), AREA.elevation
    assert z[classes == DEBRIS].mean() < z[classes == CLEAN_ICE].mean()
    assert slope_deg(z, AREA.gsd_m)[classes == DEBRIS].max() < 40


def test_spectra_tell_what_they_should() -> None:
    bands, classes = AREA.reflectance(2000, 8)
    _, green, red, nir, swir, _ = bands
    ndsi = (green - swir) / (green + swir)
    assert np.median(ndsi[classes == CLEAN_ICE]) > 0.5 > np.median(ndsi[classes == LAND])
    assert np.median(nir[classes == WATER]) < np.median(nir[classes == LAND])
    assert abs(np.median(red[classes == DEBRIS]) - np.median(red[classes == LAND])) < 0.05


def test_a_flat_plain_is_lit_by_the_sine_of_the_sun() -> None:
    light = hillshade(np.zeros((8, 8), np.float32), 30.0, sun_elevation_deg=30.0, sun_azimuth_deg=150.0)
    np.testing.assert_allclose(light, 0.5, atol=1e-6)


def test_noise_falls_with_its_exponent() -> None:
    field = noise((256, 256), 3.0, seed=0)
    power = np.abs(np.fft.fft2(field)) ** 2
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256), indexing="ij"))
    rings = [power[(k > a) & (k <= 2 * a)].mean() for a in (0.02, 0.04, 0.08, 0.16)]
    np.testing.assert_allclose(-np.diff(np.log2(rings)), 3.0, atol=0.4)


def test_files_are_read_by_the_readers_of_real_ones(tmp_path: Path) -> None:
    satellite = write_multispectral(tmp_path, AREA, "2003-08-30")
    film = write_film(tmp_path, AREA, "1975-08-20")
    truth = str(tmp_path / "truth_*.tif")
    sources = [
        SourceSettings(
            images=(str(satellite.parent / "synthetic_*.tif"),), sensor=str(sensor_file()), truth=truth, legend="classes"
        ),
        SourceSettings(
            images=(str(film),), sensor="hexagon-kh9", truth=str(tmp_path / "truth_1975-08-20_test.tif"), legend="classes"
        ),
    ]
    scenes = gather(sources)
    assert [(scene.sensor, str(scene.datetime)[:10]) for scene in scenes] == [
        ("synthetic-multispectral", "2003-08-30"), ("hexagon-kh9", "1975-08-20"),
    ]  # fmt: skip
    assert scenes[0].group == scenes[1].group
    with rasterio.open(film) as file:
        dn = file.read(1)
    assert (dn == 0).any() and dn.max() <= 255 and dn[dn > 0].min() >= 1
