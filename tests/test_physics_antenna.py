"""Antennas and noise: footprints against Gaussians and scipy, energy, noise of the stated size, numpy in and out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from vigie.core.errors import VigieError
from vigie.core.swath import Channel
from vigie.physics.antenna import add_noise, observe, smooth
from vigie.physics.footprint import SIGMA_PER_WIDTH
from vigie.synthetic.orbit import GMI, NEDT_K

PAIR = (Channel(10.65, "V", 25.0, 52.8), Channel(89.0, "V", 5.6, 52.8))
SEA = {
    "rain_rate": 0.0,
    "water_vapour": 30.0,
    "cloud_liquid": 0.05,
    "ice_water_path": 0.0,
    "skin_temperature": 295.0,
    "wind_speed": 7.0,
    "land_fraction": 0.0,
}


def test_a_footprint_is_a_gaussian_filter() -> None:
    image = torch.as_tensor(np.random.default_rng(3).normal(250, 20, (60, 50, 2)))
    seen = smooth(image, PAIR, (4.0, 5.0)).numpy()
    for i, channel in enumerate(PAIR):
        sigma = np.array([channel.footprint_km / 4.0, channel.footprint_km / 5.0]) * SIGMA_PER_WIDTH
        padded, ones = (ndimage.gaussian_filter(x, sigma, mode="constant") for x in (image[..., i].numpy(), np.ones((60, 50))))
        np.testing.assert_allclose(seen[..., i], padded / ones, atol=0.2)


def test_a_uniform_scene_stays_as_it_is_up_to_its_edges() -> None:
    seen = smooth(torch.full((7, 9, 2), 222.0, dtype=torch.float64), PAIR, (4.5, 4.5))
    assert seen.numpy() == pytest.approx(np.full((7, 9, 2), 222.0))


def test_large_footprints_blur_more_and_gradients_pass() -> None:
    image = torch.as_tensor(np.random.default_rng(4).normal(250, 20, (40, 40, 1))).expand(-1, -1, 2).clone().requires_grad_()
    seen = smooth(image, PAIR, (4.5, 4.5))
    assert seen[..., 0].std() < seen[..., 1].std() < image.std()
    seen[20, 20, 0].backward()
    assert image.grad is not None
    assert float(image.grad.sum()) == pytest.approx(1.0)
    assert float(image.grad[20, 20, 0]) == float(image.grad.max())


def test_noise_has_the_stated_size_and_follows_its_generator() -> None:
    still = torch.full((20000, 13), 200.0)
    one, again, other = (add_noise(still, NEDT_K, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    np.testing.assert_allclose(one.std(0).numpy(), NEDT_K, rtol=0.03)


def test_unknown_footprints_and_incomplete_states_are_refused() -> None:
    with pytest.raises(VigieError, match=r"10.65V has no footprint.*nan km"):
        smooth(torch.zeros(4, 4, 1), [Channel(10.65, "V")], (4.0, 4.0))
    maps = {name: np.full((3, 3), value) for name, value in SEA.items() if name != "wind_speed"}
    with pytest.raises(VigieError, match="not complete"):
        observe(maps, GMI, (4.5, 4.5), NEDT_K, seed=1)
