"""Simulated film has the statistics it was asked for."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

from vigie.core.errors import VigieError
from vigie.learn.film import FilmSettings, density, draw_film, film_bands, scan, taps, white_level

CLEAN = FilmSettings(
    blur_px=(0.3, 0.3),
    coarsening=(1, 1),
    grain_dn=(0, 0),
    field_angle_deg=(0, 0),
    saturated=(0, 0),
    scratches=0,
    dust=0,
    reseau_share=0,
)
SEEDS = range(4)


def simulate(reflectance: np.ndarray, settings: FilmSettings, seed: int = 0, seen: np.ndarray | None = None):
    """DN and saturation of a whole scene."""
    seen = np.ones(reflectance.shape[1:], bool) if seen is None else seen
    film = draw_film(settings, len(reflectance), seen.shape, [seed])
    developed = density(film, reflectance, seen, (0, 0))
    return scan(film, developed, white_level(film, developed[seen]), (0, 0))


def landscape(count: int = 3, side: int = 96) -> np.ndarray:
    smooth = ndimage.uniform_filter(np.random.default_rng(7).random((count, side, side)), (0, 9, 9))
    return ((smooth - smooth.min()) / np.ptp(smooth)).clip(0.02, 1.0)


class TestFilm:
    def test_only_visible_and_near_infrared_reflectance_makes_film(self):
        coords = {
            "kind": ("band", ["reflectance", "reflectance", "thermal", "reflectance", "reflectance", "terrain"]),
            "wavelength_um": ("band", [0.49, 0.842, 10.9, 1.61, 0.945, np.nan]),
        }
        assert film_bands(xr.Dataset(coords=coords)) == [0, 1, 4]

    def test_same_seed_same_film_and_another_seed_another(self):
        first, again, other = (simulate(landscape(), FilmSettings(), seed) for seed in (3, 3, 4))
        np.testing.assert_array_equal(first[0], again[0])
        np.testing.assert_array_equal(first[1], again[1])
        assert not np.array_equal(first[0], other[0])

    def test_layout_and_range(self):
        dn, saturated = simulate(landscape(4, 50), FilmSettings())
        assert dn.shape == saturated.shape == (50, 50)
        assert dn.dtype == np.float32 and saturated.dtype == bool and dn.min() >= 1 and dn.max() <= 255

    @pytest.mark.parametrize("share", [0.0, 0.1, 0.4])
    @pytest.mark.parametrize("seed", SEEDS)
    def test_the_asked_share_saturates(self, share, seed):
        dn, saturated = simulate(landscape(3, 128), CLEAN.model_copy(update={"saturated": (share, share)}), seed)
        assert abs(saturated.mean() - share) < 0.001
        assert (dn[saturated] == 255).all() and (dn[~saturated] < 255).all()

    def test_brighter_is_never_darker_without_grain_and_blur(self):
        levels = np.broadcast_to(np.linspace(0.01, 1.0, 400).reshape(20, 20), (2, 20, 20))
        for seed in SEEDS:
            dn, _ = simulate(levels, CLEAN.model_copy(update={"blur_px": (0.01, 0.01)}), seed)
            assert (np.diff(dn.ravel()) >= 0).all()

    def test_density_is_the_characteristic_curve(self):
        levels = np.linspace(0.01, 1.0, 400).reshape(1, 20, 20)
        dn, _ = simulate(levels, CLEAN.model_copy(update={"blur_px": (0.01, 0.01), "contrast": (3, 3), "speed": (0.2, 0.2)}))
        curve = 1 / (1 + np.exp(-3.0 * (np.log10(levels[0]) - np.log10(0.2))))
        np.testing.assert_allclose(dn, (255 * curve / curve.max()).clip(1, 255), rtol=1e-6)

    @pytest.mark.parametrize("seed", SEEDS)
    def test_grain_has_the_asked_amplitude_and_is_correlated(self, seed):
        grey = np.full((1, 160, 160), 0.3)
        # A bright corner takes the white point, so that the grey is not clipped.
        grey[:, :16, :16] = 1.0
        dn = simulate(grey, CLEAN.model_copy(update={"grain_dn": (6.0, 6.0)}), seed)[0][32:, 32:]
        assert dn.std() == pytest.approx(6.0, rel=0.05)
        # White noise blurred by sigma: neighbours correlate as exp(-1 / (4 sigma^2)), 0.60 for 0.7 px.
        for one, other in ((dn[:, :-1], dn[:, 1:]), (dn[:-1], dn[1:])):
            assert 0.55 < np.corrcoef(one.ravel(), other.ravel())[0, 1] < 0.65
        for far in (dn[:, :-8] - dn.mean(), dn[:-8] - dn.mean()):
            assert abs(far.mean()) < 1

    def test_vignetting_dims_away_from_the_axis(self):
        grey = np.full((1, 64, 64), 0.3)
        for seed in SEEDS:
            dimmed = simulate(grey, CLEAN.model_copy(update={"field_angle_deg": (30.0, 30.0)}), seed)[0]
            assert np.ptp(dimmed) > 5 and np.ptp(simulate(grey, CLEAN, seed)[0]) < 1e-2

    def test_missing_pixels_do_not_bleed(self):
        reflectance, seen = landscape(3, 64), np.ones((64, 64), bool)
        seen[:, :20] = False
        settings = FilmSettings(scratches=0, dust=0, reseau_share=0)
        film, other = (simulate(np.where(seen, reflectance, nothing), settings, 0, seen) for nothing in (np.nan, 9.0))
        np.testing.assert_array_equal(film[0][seen], other[0][seen])

    def test_reseau_crosses_are_dark_and_on_a_lattice(self):
        crossed = {"reseau_share": 1.0, "reseau_px": (60.0, 60.0), "reseau_arm_px": (6.0, 6.0), "reseau_width_px": (1.5, 1.5)}
        for seed in SEEDS:
            dn, _ = simulate(np.full((1, 160, 160), 0.3), CLEAN.model_copy(update=crossed), seed)
            dark = dn < 0.6 * dn.max()
            found = np.array(ndimage.center_of_mass(dark, *ndimage.label(dark)[:1], range(1, ndimage.label(dark)[1] + 1)))
            inner = found[(found > 8).all(1) & (found < 151).all(1)]
            assert len(inner) >= 4
            steps = np.diff(np.unique(np.round(inner[:, 0])))
            assert np.allclose(steps[steps > 3], 60, atol=1.5)

    def test_scratches_and_dust_are_as_many_as_asked(self):
        grey = np.full((1, 512, 512), 0.3)
        plain, dusty, scratched = (
            simulate(grey, CLEAN.model_copy(update=damage))[0] for damage in ({}, {"dust": 1e-3}, {"scratches": 2})
        )
        # A speck is 3 x 3 pixels.
        assert np.mean(dusty != plain) == pytest.approx(9e-3, rel=0.25)
        columns, count = np.nonzero((scratched != plain).any(0))[0], ndimage.label(scratched != plain, np.ones((3, 3)))[1]
        assert 3 <= count <= 12 and np.ptp(columns) > 256

    def test_coarser_film_is_smoother(self):
        noisy = (landscape() + 0.2 * np.random.default_rng(0).random((3, 96, 96))).clip(0, 1)
        sharp, coarse = (simulate(noisy, CLEAN.model_copy(update={"coarsening": (c, c)}))[0] for c in (1.0, 8.0))
        assert np.abs(np.diff(coarse)).mean() < 0.5 * np.abs(np.diff(sharp)).mean()

    def test_misfits_are_refused(self):
        film = draw_film(CLEAN, 2, (8, 8), [0])
        with pytest.raises(VigieError, match="seen"):
            density(film, np.zeros((2, 8, 8)), np.ones((8, 9), dtype=bool), (0, 0))
        with pytest.raises(VigieError, match="found 0 bands"):
            draw_film(CLEAN, 0, (8, 8), [0])

    def test_the_blur_is_scipys(self):
        image = np.random.default_rng(0).random(50)
        expected = ndimage.gaussian_filter1d(image, 1.7, mode="constant", radius=6)
        np.testing.assert_allclose(np.convolve(image, taps(1.7), "same"), expected, atol=1e-12)
