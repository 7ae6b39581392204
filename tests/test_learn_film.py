"""Simulated film has the statistics it was asked for; reseau crosses are found and filled."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from scipy import ndimage

from vigie.core.errors import VigieError
from vigie.learn.film import FilmSettings, film_bands, gaussian_blur, simulate
from vigie.learn.reseau import Cross, correlation, cross_mask, detect, inpaint

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


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def landscape(samples: int = 4, count: int = 3, side: int = 96) -> tuple[torch.Tensor, torch.Tensor]:
    rough = torch.rand(samples, count, side, side, generator=generator(7))
    smooth = torch.nn.functional.avg_pool2d(rough, 9, 1, 4)
    smooth = (smooth - smooth.amin()) / (smooth.amax() - smooth.amin())
    return smooth.clamp(0.02, 1.0), torch.ones(samples, side, side, dtype=torch.bool)


class TestFilm:
    def test_only_visible_and_near_infrared_reflectance_makes_film(self):
        coords = {
            "kind": ("band", ["reflectance", "reflectance", "thermal", "reflectance", "reflectance", "terrain"]),
            "wavelength_um": ("band", [0.49, 0.842, 10.9, 1.61, 0.945, np.nan]),
        }
        assert film_bands(xr.Dataset(coords=coords)) == [0, 1, 4]

    def test_same_seed_same_film_and_another_seed_another(self):
        reflectance, valid = landscape()
        first, again, other = (simulate(reflectance, valid, FilmSettings(), generator(s)) for s in (3, 3, 4))
        assert torch.equal(first.dn, again.dn) and torch.equal(first.saturated, again.saturated)
        assert not torch.equal(first.dn, other.dn)
        assert not torch.equal(first.dn[0], first.dn[1])

    def test_layout_and_range(self):
        reflectance, valid = landscape(2, 4, 50)
        film = simulate(reflectance, valid, FilmSettings(), generator())
        assert film.dn.shape == film.saturated.shape == (2, 1, 50, 50)
        assert film.dn.dtype == torch.float32 and film.saturated.dtype == torch.bool
        assert film.dn.min() >= 1 and film.dn.max() <= 255

    @pytest.mark.parametrize("share", [0.0, 0.1, 0.4])
    def test_the_asked_share_saturates(self, share):
        reflectance, valid = landscape(6, 3, 128)
        film = simulate(reflectance, valid, CLEAN.model_copy(update={"saturated": (share, share)}), generator())
        found = film.saturated.float().mean((1, 2, 3))
        assert (found - share).abs().max() < 0.01
        assert (film.dn[film.saturated] == 255).all() and (film.dn[~film.saturated] < 255).all()

    def test_brighter_is_never_darker_without_grain_and_blur(self):
        levels = torch.linspace(0.01, 1.0, 400).sort().values.view(1, 1, 20, 20).expand(3, 2, 20, 20)
        film = simulate(
            levels, torch.ones(3, 20, 20, dtype=torch.bool), CLEAN.model_copy(update={"blur_px": (0.01, 0.01)}), generator()
        )
        assert (film.dn.flatten(1).diff(dim=1) >= 0).all()

    def test_density_is_the_characteristic_curve(self):
        levels = torch.linspace(0.01, 1.0, 400).view(1, 1, 20, 20)
        fixed = CLEAN.model_copy(update={"blur_px": (0.01, 0.01), "contrast": (3.0, 3.0), "speed": (0.2, 0.2)})
        film = simulate(levels, torch.ones(1, 20, 20, dtype=torch.bool), fixed, generator())
        density = 1 / (1 + torch.exp(-3.0 * (levels.log10() - np.log10(0.2))))
        torch.testing.assert_close(film.dn, (255 * density / density.max()).clamp(1, 255), rtol=1e-4, atol=0.01)

    def test_grain_has_the_asked_amplitude_and_is_correlated(self):
        grey = torch.full((4, 1, 128, 128), 0.3)
        valid = torch.ones(4, 128, 128, dtype=torch.bool)
        # A bright corner takes the white point, so that the grey is not clipped.
        grey[..., :16, :16] = 1.0
        film = simulate(grey, valid, CLEAN.model_copy(update={"grain_dn": (6.0, 6.0)}), generator()).dn[..., 32:, 32:]
        assert torch.allclose(film.std((1, 2, 3)), torch.tensor(6.0), rtol=0.1)
        for sample in film:
            pairs = torch.stack([sample[..., :-1].flatten(), sample[..., 1:].flatten()])
            # White noise blurred by sigma: neighbours correlate as exp(-1 / (4 sigma^2)), 0.60 for 0.7 px.
            assert 0.5 < torch.corrcoef(pairs)[0, 1] < 0.7

    def test_vignetting_dims_away_from_the_axis(self):
        grey, valid = torch.full((8, 1, 64, 64), 0.3), torch.ones(8, 64, 64, dtype=torch.bool)
        film = simulate(grey, valid, CLEAN.model_copy(update={"field_angle_deg": (30.0, 30.0)}), generator()).dn
        assert (film.amax((1, 2, 3)) - film.amin((1, 2, 3))).min() > 5
        flat = simulate(grey, valid, CLEAN, generator()).dn
        assert (flat.amax() - flat.amin()) < 1e-2

    def test_missing_pixels_are_zero_and_do_not_bleed(self):
        reflectance, valid = landscape(2, 3, 64)
        valid[:, :, :20] = False
        spoilt = torch.where(valid[:, None], reflectance, torch.nan)
        settings = FilmSettings(scratches=0, dust=0, reseau_share=0)
        film, other = (
            simulate(r, valid, settings, generator()) for r in (spoilt, torch.where(valid[:, None], reflectance, 9.0))
        )
        assert (film.dn[..., :20] == 0).all() and not film.saturated[..., :20].any()
        assert (film.dn[..., 20:] > 0).all() and torch.equal(film.dn, other.dn)

    def test_nothing_valid_is_all_missing(self):
        film = simulate(
            torch.full((1, 2, 16, 16), torch.nan), torch.zeros(1, 16, 16, dtype=torch.bool), FilmSettings(), generator()
        )
        assert (film.dn == 0).all() and not film.saturated.any()

    def test_reseau_crosses_are_dark_and_on_a_lattice(self):
        grey, valid = torch.full((3, 1, 160, 160), 0.3), torch.ones(3, 160, 160, dtype=torch.bool)
        crossed = {"reseau_share": 1.0, "reseau_px": (60.0, 60.0), "reseau_arm_px": (6.0, 6.0), "reseau_width_px": (1.5, 1.5)}
        film = simulate(grey, valid, CLEAN.model_copy(update=crossed), generator()).dn
        for sample in film[:, 0]:
            dark = (sample < 0.6 * sample.max()).numpy()
            found = np.array(ndimage.center_of_mass(dark, *ndimage.label(dark)[:1], range(1, ndimage.label(dark)[1] + 1)))
            inner = found[(found > 8).all(1) & (found < 151).all(1)]
            assert len(inner) >= 4
            steps = np.diff(np.unique(np.round(inner[:, 0])))
            assert np.allclose(steps[steps > 3], 60, atol=1.5)

    def test_coarser_film_is_smoother(self):
        reflectance, valid = landscape()
        noisy = (reflectance + 0.2 * torch.rand(reflectance.shape, generator=generator())).clamp(0, 1)
        sharp, coarse = (
            simulate(noisy, valid, CLEAN.model_copy(update={"coarsening": (c, c)}), generator()).dn for c in (1.0, 8.0)
        )
        assert coarse.diff(dim=-1).abs().mean() < 0.5 * sharp.diff(dim=-1).abs().mean()

    def test_misfits_are_refused(self):
        with pytest.raises(VigieError, match="valid"):
            simulate(torch.zeros(1, 2, 8, 8), torch.ones(1, 8, 9, dtype=torch.bool), FilmSettings(), generator())

    def test_blur_is_scipys(self):
        image = torch.rand(2, 1, 30, 34, generator=generator(), dtype=torch.float64)
        sigma = torch.tensor([0.8, 1.7], dtype=torch.float64).view(2, 1, 1, 1)
        blurred = gaussian_blur(image, sigma)
        for one, after, s in zip(image[:, 0], blurred[:, 0], (0.8, 1.7)):
            expected = ndimage.gaussian_filter(one.numpy(), s, mode="nearest", radius=6)
            np.testing.assert_allclose(after.numpy(), expected, atol=1e-12)


class TestReseau:
    CROSS = Cross(arm_px=15, width_px=2, margin_px=4)

    def crossed(self, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        clean = ndimage.gaussian_filter(rng.normal(0, 1, (200, 220)), 3)
        clean = 120 + 30 * clean / clean.std() + rng.normal(0, 5, clean.shape)
        centres = np.array([[40, 50], [41, 150], [140, 49], [141, 151]])
        return clean, np.where(cross_mask(clean.shape, centres, self.CROSS, 0), 25.0, clean), centres

    def test_every_cross_and_nothing_else_is_found(self):
        clean, film, centres = self.crossed()
        np.testing.assert_array_equal(detect(film, self.CROSS), centres)
        assert len(detect(clean, self.CROSS)) == 0

    def test_correlation_is_the_definition_and_ignores_exposure(self):
        _, film, _ = self.crossed()
        cross = self.CROSS
        score = correlation(film, cross)
        assert score.shape == film.shape and score.max() <= 1 + 1e-9
        np.testing.assert_allclose(correlation(0.5 * film + 30, cross), score, atol=1e-9)
        support = cross.lines(cross.margin_px)
        dark = np.pad(cross.lines(), cross.margin_px)[support]
        for y, x in ((40, 50), (90, 100), (60, 30)):
            half = len(support) // 2
            window = film[y - half : y + half + 1, x - half : x + half + 1][support]
            assert score[y, x] == pytest.approx(np.corrcoef(window, -dark.astype(float))[0, 1], abs=1e-9)

    def test_filled_film_is_the_film_without_crosses(self):
        clean, film, centres = self.crossed()
        mask = cross_mask(film.shape, detect(film, self.CROSS), self.CROSS)
        filled = inpaint(film, mask)
        np.testing.assert_array_equal(filled[~mask], film[~mask].astype(np.float32))
        assert (
            np.abs(filled - clean)[mask].mean()
            < 0.15 * np.abs(film - clean)[cross_mask(film.shape, centres, self.CROSS, 0)].mean()
        )
        assert len(detect(filled, self.CROSS)) == 0

    def test_a_plane_is_filled_exactly(self):
        y, x = np.mgrid[:40, :50]
        plane = 3.0 * y - 2.0 * x
        mask = cross_mask(plane.shape, np.array([[20, 25]]), Cross(8, 1, 2))
        np.testing.assert_allclose(inpaint(np.where(mask, 0, plane), mask), plane, atol=1e-3)

    def test_flat_film_has_no_cross(self):
        assert len(detect(np.full((80, 80), 100.0), self.CROSS)) == 0

    def test_misfits_are_refused(self):
        with pytest.raises(VigieError, match="smaller than the cross"):
            correlation(np.zeros((20, 20)), self.CROSS)
        with pytest.raises(VigieError, match="no cross"):
            Cross(arm_px=2, width_px=3, margin_px=1)
        with pytest.raises(VigieError, match="nothing is left"):
            inpaint(np.zeros((4, 4)), np.ones((4, 4), dtype=bool))

    @pytest.mark.realdata
    def test_the_cross_of_a_kh9_detail_is_found_and_removed(self, samples):
        from matplotlib.image import imread

        figure = 255 * imread(samples / "glaciers/kh9_iceland/fixed_cross.png")[..., :3].mean(-1)
        # Two panels of a figure (notes, trap 9); the film is drawn about four times too large.
        before, after = (figure[40:2000, at : at + 1960].reshape(490, 4, 490, 4).mean((1, 3)) for at in (57, 2429))
        removed = after - before > 20
        expected = [removed.sum(1).argmax(), removed.sum(0).argmax()]
        cross = Cross(arm_px=60, width_px=3, margin_px=6)
        assert np.abs(detect(before, cross) - expected).max() <= 1 and len(detect(before, cross)) == 1
        assert len(detect(after, cross)) == 0
        mask = cross_mask(before.shape, detect(before, cross), Cross(arm_px=222, width_px=3, margin_px=6), spread_px=3)
        filled = inpaint(before, mask)
        assert len(detect(filled, cross)) == 0
        assert np.abs(filled - after)[mask].mean() < 8 < 20 < np.abs(before - after)[mask].mean()
