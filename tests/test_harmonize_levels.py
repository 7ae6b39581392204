"""What is measured once a scene: saturation, shadow, and the shift to a reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from scipy.ndimage import fourier_shift, gaussian_filter

from vigie.core.errors import VigieError
from vigie.core.scene import Band, Scene
from vigie.harmonize.coregister import BandImage, CoregisterSettings, measure_shift
from vigie.harmonize.lattice import lattice
from vigie.harmonize.levels import measured
from vigie.harmonize.reader import SceneReader
from vigie.harmonize.saturation import saturation_level
from vigie.harmonize.settings import HarmonizeSettings
from vigie.harmonize.shadow import shadow_threshold

CHIPS = "glaciers/s2_debris_chips_everest_sikkim/image{}.tif"
FRAME = GeoBox((400, 400), Affine(10, 0, 500_000, 0, -10, 3_000_000), "EPSG:32645")


# --- saturation -------------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(gain=st.floats(0.01, 100), offset=st.floats(-100, 100), cut=st.integers(60, 200))
def test_a_clipped_image_shows_its_level_under_any_gain_and_offset(gain, offset, cut):
    brightness = np.clip(np.random.default_rng(0).normal(120, 40, 20_000), 1, 254).astype(np.uint8)
    clipped = np.minimum(brightness, cut).astype(np.float32) * np.float32(gain) + np.float32(offset)
    assert saturation_level(clipped) == pytest.approx(float(clipped.max()))


def test_smooth_constant_and_empty_images_are_not_saturated():
    assert saturation_level(np.random.default_rng(0).normal(120, 20, 20_000).astype(np.uint8)) is None
    assert saturation_level(np.random.default_rng(0).normal(size=20_000).astype(np.float32)) is None
    assert saturation_level(np.full(100, 7)) is None and saturation_level(np.full(10, np.nan)) is None


@pytest.mark.realdata
def test_saturation_of_real_images(samples):
    for name in ("LE71400412000304SGS00_RGB", "LE71400412000304SGS00_B4"):
        with rasterio.open(samples / f"glaciers/everest_landsat7/{name}.tif") as dataset:
            for band in dataset.read():
                assert saturation_level(band) == 255 and saturation_level(band * 0.75) == 191.25
    for chip in (3, 126, 151, 155, 157, 163):
        with rasterio.open(samples / CHIPS.format(chip)) as dataset:
            assert [saturation_level(band) for band in dataset.read(range(1, 8))] == [None] * 7


# --- shadow -----------------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(gain=st.floats(0.2, 5), offset=st.floats(0, 0.5))
def test_shadow_tests_are_free_of_gain_and_of_offset(gain, offset):
    nir = np.random.default_rng(0).gamma(2.0, 0.1, 5000)
    gained, moved = nir * gain, nir * gain + offset
    assert np.array_equal(gained < shadow_threshold(gained, "gain"), nir < shadow_threshold(nir, "gain"))
    differ = (moved < shadow_threshold(moved, "affine")) != (nir < shadow_threshold(nir, "affine"))
    assert differ.sum() <= 1


@pytest.mark.realdata
def test_the_affine_test_flags_what_the_gain_test_does_and_holds_under_the_stress_of_the_notes(samples):
    for chip in (3, 126, 151, 155, 157, 163):
        with rasterio.open(samples / CHIPS.format(chip)) as dataset:
            nir = dataset.read(4) / 1e4
        stressed = nir * 0.75 + 0.015
        gain, affine = (nir < shadow_threshold(nir, test) for test in ("gain", "affine"))
        assert abs(gain.mean() - affine.mean()) < 0.015
        assert (affine != (stressed < shadow_threshold(stressed, "affine"))).mean() < 1e-3


def test_levels_are_measured_once_from_the_whole_scene(tmp_path):
    nir = np.random.default_rng(0).integers(1500, 4000, FRAME.shape).astype(np.uint16)
    nir[:, :50] = 100
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint16", "crs": str(FRAME.crs), "transform": FRAME.affine}
    with rasterio.open(tmp_path / "a.tif", "w", height=400, width=400, **profile) as out:
        out.write(nir, 1)
    bands = tuple(
        Band(name, kind, str(tmp_path / "a.tif"), 1, 10, "1", um, scale=1e-4)
        for name, kind, um in (("nir", "reflectance", 0.84), ("film", "pan", None))
    )
    for kept, expected in ((bands, True), (bands[1:], False)):
        scene = Scene("s", "s", None, kept, str(FRAME.crs), tuple(FRAME.affine)[:6], (400, 400), {})
        reader = measured(SceneReader(scene, FRAME, settings=HarmonizeSettings(shadow="gain")))
        flags = reader({"y": slice(0, 10), "x": slice(40, 60)})["flags"].values
        assert flags[:, :10].tolist() == [[4 if expected else 0] * 10] * 10 and not flags[:, 10:].any()


def test_the_lattice_is_inside_and_covers_small_scenes():
    for size in (1, 200, 1536, 1537, 10980):
        windows = lattice({"y": size, "x": 5})
        assert all(0 <= w["y"].start < w["y"].stop <= size for w in windows) and len(windows) <= 36
        assert windows[0]["y"].start == 0 and windows[-1]["y"].stop == size
        assert size > 1536 or sum(w["y"].stop - w["y"].start for w in windows) == size


# --- co-registration --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Held:
    """An image in memory, missing outside."""

    pixels: np.ndarray

    def __call__(self, window):
        rows, columns = (np.arange(window[d].start, window[d].stop) for d in ("y", "x"))
        padded = np.pad(self.pixels.astype(np.float32), 64, constant_values=np.nan)
        return padded[np.ix_(rows + 64, columns + 64)]


def mountains(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return sum(gaussian_filter(rng.normal(size=FRAME.shape), s, mode="wrap") * s**1.5 for s in (1.5, 3, 8, 20))


def moved(image: np.ndarray, rows: float, columns: float) -> np.ndarray:
    return np.fft.ifft2(fourier_shift(np.fft.fft2(image), (rows, columns))).real


@settings(max_examples=6, deadline=None)
@given(rows=st.floats(-15, 15), columns=st.floats(-15, 15))
def test_known_shifts_come_back_within_a_tenth_of_a_pixel(rows, columns):
    shift = measure_shift(Held(moved(mountains(), rows, columns)), Held(mountains()), FRAME)
    assert shift.dx_m / 10 == pytest.approx(-columns, abs=0.1) and -shift.dy_m / 10 == pytest.approx(-rows, abs=0.1)
    assert shift.n >= 8 and shift.quality > 0.8


def test_inverted_contrast_noise_and_holes_do_not_matter():
    other = -np.arctan(moved(mountains(), 2.3, -1.6)) * 40 + np.random.default_rng(1).normal(0, 1.0, FRAME.shape)
    other[100:180, 50:300] = np.nan
    shift = measure_shift(Held(other), Held(mountains()), FRAME)
    assert (shift.dx_m / 10, -shift.dy_m / 10) == pytest.approx((1.6, -2.3), abs=0.1)


def test_what_is_not_the_same_ground_is_refused():
    noise = np.random.default_rng(9).normal(size=FRAME.shape)
    for other in (noise, mountains(5), mountains(7), np.full(FRAME.shape, np.nan), np.zeros(FRAME.shape)):
        with pytest.raises(VigieError, match="do not agree on a shift"):
            measure_shift(Held(other), Held(mountains()), FRAME)
    with pytest.raises(VigieError, match="further apart"):
        measure_shift(Held(moved(mountains(), 0, 12)), Held(mountains()), FRAME, CoregisterSettings(limit_m=100))


@pytest.mark.realdata
@pytest.mark.parametrize("shift_m", [(3.0, -4.0), (-122.5, 75.0)])
def test_a_chip_moved_on_the_map_is_brought_back_through_its_reader(samples, shift_m):
    href = str(samples / CHIPS.format(157))
    with rasterio.open(href) as dataset:
        frame = GeoBox(dataset.shape, dataset.transform, str(dataset.crs))
    bands = tuple(Band(n, "reflectance", href, i, 10, "1", um) for n, i, um in (("red", 3, 0.66), ("nir", 4, 0.84)))
    scene = Scene("s", "s", None, bands, str(frame.crs), tuple(frame.affine)[:6], tuple(frame.shape), {})
    wrong = SceneReader(scene, frame, moved_m=shift_m)
    shift = measure_shift(BandImage(wrong, "red"), BandImage(SceneReader(scene, frame), "nir"), frame)
    assert shift.moved_m == pytest.approx((-shift_m[0], -shift_m[1]), abs=1.0)
    with pytest.raises(VigieError, match="has no band 'swir'"):
        BandImage(wrong, "swir")({"y": slice(0, 5), "x": slice(0, 5)})
