"""Augmentation changes what may change, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from vigie.core.cube import band_coordinates
from vigie.core.errors import VigieError
from vigie.core.scene import Band
from vigie.learn import bands
from vigie.learn.augment import AugmentSettings, augment, bend, blot, drop_bands, radiometry, turn, turn_bands, zoom
from vigie.learn.windows import Batch

BANDS = [
    Band("red", "reflectance", "x.tif", 1, 10.0, "1", 0.665, 0.03),
    Band("slope", "terrain", "x.tif", 2, 30.0, "degree"),
    Band("aspect_sin", "terrain", "x.tif", 3, 30.0, "1"),
    Band("aspect_cos", "terrain", "x.tif", 4, 30.0, "1"),
    Band("nir", "reflectance", "x.tif", 5, 10.0, "1", 0.842, 0.115),
]
DESCRIBED = bands.describe(xr.Dataset(coords=band_coordinates(BANDS)))
MEASURED, TERRAIN = [0, 4], [1, 2, 3]
OFF = AugmentSettings(symmetries=0, gain=0, offset=0, curvature=0, tint=0, haze=0, noise=0, drop_bands=0, blots=0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(samples: int = 4, height: int = 16, width: int = 16) -> Batch:
    g = generator(9)
    x = torch.randn(samples, len(BANDS), height, width, generator=g)
    valid = torch.rand(samples, 1, height, width, generator=g) > 0.1
    saturated = (torch.rand(samples, 1, height, width, generator=g) > 0.9) & valid
    rows = torch.randint(-1, 3, (samples, height, width), generator=g)
    return Batch(
        x=x * valid,
        mask=torch.cat([valid, saturated], 1).float(),
        bands=DESCRIBED,
        rows=rows,
        matrix=torch.eye(3),
        weight=torch.rand(samples, height, width, generator=g),
        scenes=tuple("abcdefgh"[:samples]),
    )


def terrain(elevation: np.ndarray) -> torch.Tensor:
    """Slope and the downslope direction (east, north) of a DEM with rows from north to south, one metre a pixel."""
    south, east = np.gradient(elevation)
    steep = np.hypot(south, east)
    return torch.from_numpy(np.stack([np.degrees(np.arctan(steep)), -east / steep, south / steep]))


class TestTurn:
    @pytest.mark.parametrize("flip", [False, True])
    @pytest.mark.parametrize("quarters", [0, 1, 2, 3])
    def test_aspect_is_that_of_the_turned_dem(self, flip, quarters):
        y, x = np.mgrid[:20, :20]
        elevation = 30 * np.sin(x / 7) + 20 * np.cos(y / 5 + x / 9) + 0.5 * y
        turned = np.rot90(elevation[:, ::-1] if flip else elevation, quarters)
        found = turn_bands(terrain(elevation), flip, quarters, (1, 2))
        # Differences at the edge are one-sided, so they are compared inside.
        torch.testing.assert_close(found[:, 1:-1, 1:-1], terrain(turned)[:, 1:-1, 1:-1])

    @given(seed=st.integers(0, 999))
    @settings(max_examples=20, deadline=None)
    def test_everything_moves_together(self, seed):
        there = batch()
        place = torch.arange(256.0).view(1, 1, 16, 16).expand(4, 1, 16, 16)
        marked = replace(
            there,
            x=torch.cat([place, there.x[:, 1:]], 1),
            mask=place.expand(4, 2, 16, 16),
            rows=place[:, 0].long(),
            weight=place[:, 0],
        )
        moved = turn(marked, 1.0, generator(seed))
        for tensor in (moved.mask[:, 0], moved.mask[:, 1], moved.rows.float(), moved.weight):
            assert torch.equal(tensor, moved.x[:, 0])
        assert torch.equal(moved.x[:, 0].flatten(1).sort().values, place[:, 0].flatten(1))

    def test_all_eight_symmetries_occur(self):
        place = torch.arange(4.0).view(1, 1, 2, 2)
        there = batch(1, 2, 2)
        there = replace(there, x=torch.cat([place, there.x[:, 1:]], 1))
        seen = {tuple(turn(there, 1.0, generator(s)).x[0, 0].flatten().tolist()) for s in range(80)}
        assert len(seen) == 8

    def test_oblong_windows_keep_their_shape(self):
        moved = turn(batch(8, 12, 16), 1.0, generator())
        assert moved.x.shape == (8, 5, 12, 16) and moved.rows.shape == (8, 12, 16)

    def test_half_an_aspect_is_refused(self):
        there = batch()
        with pytest.raises(VigieError, match="aspect"):
            turn(replace(there, x=there.x[:, :3], bands=there.bands[:3]), 1.0, generator())


class TestZoom:
    def seeds(self, larger: bool) -> torch.Generator:
        """A generator whose zoom is larger (or smaller) than 1."""
        for seed in range(50):
            first, second = torch.rand(2, generator=generator(seed)).tolist()
            if first >= 0.5 and (second > 0.8 if larger else second < 0.2):
                return generator(seed)
        raise AssertionError

    def test_scale_labels_and_descriptors_change_together(self):
        there = batch(2, 33, 33)
        ramp = torch.linspace(-1, 1, 35)[1:-1].expand(2, 5, 33, 33).contiguous() + 5
        there = replace(there, x=ramp, mask=torch.ones(2, 2, 33, 33), rows=(ramp[:, 0] > 5).long())
        moved = zoom(there, 2.0, self.seeds(larger=True))
        factor = float(ramp[0, 0, 0].diff().mean() / moved.x[0, 0, 5].diff()[5:-5].mean())
        assert 1.2 < factor <= 2.0
        gsd = bands.with_gsd_scaled(DESCRIBED, 1 / factor)
        torch.testing.assert_close(moved.bands, gsd, rtol=1e-3, atol=1e-3)
        away = (moved.x[:, 0] - 5).abs() > 0.1
        assert torch.equal(moved.rows[away], (moved.x[:, 0] > 5).long()[away])

    def test_what_lies_outside_is_missing_and_unknown(self):
        moved = zoom(replace(batch(), mask=torch.ones(4, 2, 16, 16)), 2.0, self.seeds(larger=False))
        outside = moved.mask[:, 0] == 0
        assert outside[:, 0].all() and not outside[:, 8, 8].any()
        assert (moved.rows[outside] == -1).all() and (moved.weight[outside] == 0).all()
        assert (moved.x.movedim(1, -1)[outside] == 0).all()

    def test_gaps_do_not_bleed(self):
        there = batch()
        full = replace(there, x=torch.where(there.x != 0, 3.0, 0.0))
        moved = zoom(full, 2.0, self.seeds(larger=True))
        assert torch.isin(moved.x.round(decimals=4), torch.tensor([0.0, 3.0])).all()


class TestRadiometry:
    @given(seed=st.integers(0, 999))
    @settings(max_examples=20, deadline=None)
    def test_terrain_gaps_and_labels_stay(self, seed):
        there = batch()
        changed = radiometry(there, AugmentSettings(), generator(seed))
        assert torch.equal(changed.x[:, TERRAIN], there.x[:, TERRAIN])
        assert ((changed.x == 0) == (there.x == 0)).all()
        assert not torch.equal(changed.x[:, MEASURED], there.x[:, MEASURED])
        assert changed.rows is there.rows and changed.mask is there.mask

    def test_gain_and_offset_stay_within_their_limits(self):
        limits = AugmentSettings(gain=0.3, offset=0.2, curvature=0, haze=0, noise=0)
        there = batch(8)
        for seed in range(10):
            changed = radiometry(there, limits, generator(seed)).x
            for sample, band in np.ndindex(8, 2):
                seen = there.x[sample, MEASURED[band]] != 0
                a, b = there.x[sample, MEASURED[band]][seen], changed[sample, MEASURED[band]][seen]
                gain = float((b - b.mean()).norm() / (a - a.mean()).norm())
                assert abs(np.log(gain)) <= 0.3 + 1e-5
                assert abs(float((b - gain * a).mean())) <= 0.2 + 1e-5

    def test_tint_moves_each_colour_and_nothing_else(self):
        limits = OFF.model_copy(update={"tint": 0.7})
        there = batch(8)
        kinds = xr.DataArray([band.kind.replace("reflectance", "colour") for band in BANDS], dims="band")
        colours = bands.describe(xr.Dataset(coords=band_coordinates(BANDS)).assign_coords(kind=kinds))
        seen = replace(there, bands=colours, x=torch.where(there.x == 0, 0.1, there.x))
        moved = radiometry(seen, limits, generator()).x - seen.x
        assert torch.equal(moved[:, TERRAIN], torch.zeros_like(moved[:, TERRAIN]))
        shifts = moved[:, MEASURED]
        assert shifts.std(dim=(2, 3)).max() < 1e-6 and shifts.abs().max() <= 0.7
        assert len(shifts[:, :, 0, 0].unique()) == 16
        same = replace(seen, bands=there.bands)
        assert torch.equal(radiometry(same, limits, generator()).x, same.x)

    @given(amount=st.floats(-0.5, 0.5), z=st.lists(st.floats(-20, 20), min_size=2, max_size=20))
    def test_bend_is_monotone_and_keeps_zero_and_its_slope(self, amount, z):
        a = torch.tensor(amount, dtype=torch.float64)
        ascending = torch.tensor(sorted(z), dtype=torch.float64)
        assert (bend(ascending, a).diff() >= 0).all()
        near = torch.tensor([-1e-4, 0.0, 1e-4], dtype=torch.float64)
        torch.testing.assert_close(bend(near, a), near, rtol=1e-4, atol=0)

    def test_all_off_is_the_identity(self):
        there = batch()
        same = augment(there, OFF, generator())
        assert torch.equal(same.x, there.x) and torch.equal(same.rows, there.rows) and torch.equal(same.mask, there.mask)


class TestMissing:
    def test_bands_and_descriptors_leave_together_and_one_measured_stays(self):
        there = batch()
        left = set()
        for seed in range(200):
            fewer = drop_bands(there, 0.95, generator(seed))
            kept = [int((d == DESCRIBED).all(1).nonzero()[0, 0]) for d in fewer.bands]
            assert torch.equal(fewer.x, there.x[:, kept]) and set(kept) & set(MEASURED)
            left.add(tuple(kept))
        assert (0,) in left and (4,) in left and (0, 1, 2, 3, 4) in left

    def test_terrain_alone_keeps_a_band(self):
        there = batch()
        there = replace(there, x=there.x[:, TERRAIN], bands=there.bands[TERRAIN])
        assert all(drop_bands(there, 0.99, generator(s)).x.shape[1] >= 1 for s in range(50))

    def test_blots_are_rectangles_of_missing_input(self):
        there = replace(batch(8, 64, 64), x=torch.ones(8, 5, 64, 64), mask=torch.ones(8, 2, 64, 64))
        blotted = blot(there, 2, 0.25, generator())
        gone = blotted.mask[:, 0] == 0
        assert 0 < gone.float().mean() < 2 * 0.25**2
        assert ((blotted.x == 0).all(1) == gone).all() and (blotted.mask[:, 1] == blotted.mask[:, 0]).all()
        assert torch.equal(blotted.rows, there.rows) and torch.equal(blotted.weight, there.weight)


class TestAugment:
    def test_same_seed_same_windows(self):
        full = AugmentSettings(zoom=1.5)
        for seed in range(5):
            first, again = (augment(batch(), full, generator(seed)) for _ in range(2))
            assert (
                torch.equal(first.x, again.x) and torch.equal(first.rows, again.rows) and torch.equal(first.bands, again.bands)
            )
        assert not torch.equal(augment(batch(), full, generator(1)).x, augment(batch(), full, generator(2)).x)

    @given(seed=st.integers(0, 9999), side=st.sampled_from([8, 17, 32]))
    @settings(max_examples=30, deadline=None)
    def test_output_is_a_batch_like_its_input(self, seed, side):
        there = batch(3, side, side)
        changed = augment(there, AugmentSettings(zoom=2.0), generator(seed))
        assert changed.x.shape == (3, len(changed.bands), side, side) and torch.isfinite(changed.x).all()
        assert set(changed.mask.unique().tolist()) <= {0.0, 1.0} and changed.rows.dtype == torch.int64
        assert set(changed.rows.unique().tolist()) <= {-1, 0, 1, 2}
        assert (changed.x.movedim(1, -1)[changed.mask[:, 0] == 0] == 0).all()
