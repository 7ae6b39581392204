"""Surroundings: the statistics are scipy's, and 16 bits do not spoil a variance."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import ndimage

from vigie.learn.networks import NetworkSettings
from vigie.learn.surroundings import box_mean, surroundings


def image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(height, width))


@given(st.integers(1, 12), st.integers(1, 12), st.sampled_from([3, 5, 9]), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_a_box_mean_is_scipys_over_what_lies_inside(height, width, side, seed):
    values = image(height, width, seed)
    summed = ndimage.uniform_filter(values, side, mode="constant")
    share = ndimage.uniform_filter(np.ones_like(values), side, mode="constant")
    found = box_mean(torch.from_numpy(values)[None, None], side)[0, 0].numpy()
    np.testing.assert_allclose(found, summed / share, atol=1e-12)


def test_beside_the_bands_lie_their_means_and_their_spreads():
    values = image(20, 30)
    found = surroundings(torch.from_numpy(values)[None, None], (5,))[0].numpy()
    inner = (slice(2, -2), slice(2, -2))
    spread = ndimage.generic_filter(values, np.std, 5)
    np.testing.assert_allclose(found[0], values)
    np.testing.assert_allclose(found[1][inner], ndimage.uniform_filter(values, 5)[inner], atol=1e-12)
    np.testing.assert_allclose(found[2][inner], np.sqrt(spread**2 + 1e-4)[inner], atol=1e-10)


def test_variances_are_taken_in_32_bits():
    x = 100 + torch.from_numpy(image(16, 16)).float()[None, None]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = surroundings(x, (9,))
    torch.testing.assert_close(found, surroundings(x, (9,)))


@pytest.mark.parametrize("sides", [(2,), (3, 4), (1,)])
def test_squares_without_a_middle_are_refused(sides):
    with pytest.raises(ValidationError, match="sides"):
        NetworkSettings(name="forest", sides=sides)
