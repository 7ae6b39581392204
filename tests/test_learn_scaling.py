"""Scaling: equal to numpy by hand, blind to gain and offset, blind to tiling, bounded on large scenes."""

from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from vigie.core.cube import FLAGS
from vigie.core.errors import VigieError
from vigie.learn import bands
from vigie.learn.scaling import TERRAIN_SCALES, UNUSED, RobustScaling, lattice, measure, shown, standardise

PERCENTILES = RobustScaling(reflectances="percentiles")


def scene_of(observation, kinds=None, names=None, flags=None):
    count, height, width = observation.shape
    kinds = kinds or ["reflectance"] * count
    nothing = np.full(count, np.nan)
    return xr.Dataset(
        {
            "observation": (("band", "y", "x"), observation),
            "flags": (("y", "x"), np.zeros((height, width), np.uint8) if flags is None else flags),
        },
        coords={
            "band": names or [f"b{i}" for i in range(count)],
            "kind": ("band", kinds),
            "units": ("band", ["1"] * count),
            **dict.fromkeys(("wavelength_um", "bandwidth_um", "gsd_m"), ("band", nothing)),
        },
    )


def reader(scene):
    return lambda window: scene.isel({d: window[d] for d in ("y", "x")}).load()


def random_scene(seed=0, shape=(3, 41, 57)):
    random = np.random.default_rng(seed)
    return scene_of(random.gamma(2.0, 0.1, shape), flags=random.choice([0, 0, 0, 1, 2, 4, 8, 32], shape[1:]).astype(np.uint8))


def sizes(scene):
    return {"y": scene.sizes["y"], "x": scene.sizes["x"]}


def test_percentiles_are_those_of_the_clear_pixels():
    scene = random_scene()
    found = measure(reader(scene), sizes(scene), PERCENTILES)
    clear = (scene["flags"].values & 15) == 0
    for i in range(3):
        expected = np.percentile(scene["observation"].values[i][clear], [16, 50, 84])
        np.testing.assert_allclose([found[n].values[i] for n in ("p16", "p50", "p84")], expected, rtol=1e-15)
    assert (found["pixels"] == clear.sum()).all()
    assert found["band"].values.tolist() == ["b0", "b1", "b2"]


def test_a_normal_band_becomes_half_a_standard_deviation():
    # P84 - P16 of a normal distribution is 1.989 standard deviations.
    scene = scene_of(np.random.default_rng(1).normal(40.0, 7.0, (1, 300, 300)))
    x, _ = standardise(scene, measure(reader(scene), sizes(scene), PERCENTILES), PERCENTILES)
    assert abs(x.mean()) < 0.01 and abs(x.std() - 1 / 1.989) < 0.005


@settings(max_examples=40, deadline=None)
@given(
    gains=st.lists(st.floats(1e-3, 1e4), min_size=3, max_size=3),
    offsets=st.lists(st.floats(-50, 50), min_size=3, max_size=3),
    seed=st.integers(0, 99),
)
def test_gain_and_offset_of_each_band_change_nothing(gains, offsets, seed):
    scene, scaling = random_scene(seed), PERCENTILES
    other = scene.assign(
        observation=scene["observation"] * xr.DataArray(gains, dims="band") + xr.DataArray(offsets, dims="band")
    )
    results = [standardise(s, measure(reader(s), sizes(s), scaling), scaling) for s in (scene, other)]
    # float64 keeps about 16 digits; an offset of 50 on a spread of 1e-4 costs six of them.
    np.testing.assert_allclose(results[0][0], results[1][0], atol=2e-6)
    np.testing.assert_array_equal(results[0][1], results[1][1])


def test_powers_of_two_change_not_one_bit():
    scene, scaling = random_scene(), PERCENTILES
    double = scene.assign(observation=scene["observation"] * 1024.0)
    a, b = (standardise(s, measure(reader(s), sizes(s), scaling), scaling)[0] for s in (scene, double))
    assert a.tobytes() == b.tobytes()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 41), st.integers(1, 57))
def test_windows_of_a_scene_see_what_the_whole_sees(height, width):
    scene, scaling = random_scene(), PERCENTILES
    statistics = measure(reader(scene), sizes(scene), scaling)
    x, mask = standardise(scene, statistics, scaling)
    part_x, part_mask = standardise(scene.isel(y=slice(0, height), x=slice(57 - width, 57)), statistics, scaling)
    np.testing.assert_array_equal(x[:, :height, 57 - width :], part_x)
    np.testing.assert_array_equal(mask[:, :height, 57 - width :], part_mask)


def test_missing_is_zero_and_saturated_is_flagged_and_clipped():
    observation = np.random.default_rng(0).normal(size=(2, 20, 20))
    observation[0, 0, 0], observation[:, 0, 1], observation[1, 0, 2] = np.nan, np.nan, 1e9
    flags = np.zeros((20, 20), np.uint8)
    flags[0, 2], flags[0, 3] = FLAGS["saturated"], FLAGS["nodata"] | FLAGS["saturated"]
    scene = scene_of(observation, flags=flags)
    x, mask = standardise(
        scene,
        measure(reader(scene), sizes(scene), RobustScaling(reflectances="percentiles", clip=3.0)),
        RobustScaling(reflectances="percentiles", clip=3.0),
    )
    assert x.dtype == mask.dtype == np.float32 and np.isfinite(x).all()
    assert x[0, 0, 0] == 0 and x[1, 0, 0] != 0 and mask[0, 0, 0] == 1
    assert (x[:, 0, 1] == 0).all() and mask[0, 0, 1] == 0
    assert x[1, 0, 2] == 3.0 and mask[:, 0, 2].tolist() == [1, 1]
    assert (x[:, 0, 3] == 0).all() and mask[:, 0, 3].tolist() == [0, 0]


def test_terrain_stays_absolute_and_elevation_is_not_used():
    names = ["slope", "relief", "aspect_sin", "aspect_cos", "elevation"]
    values = np.array([45.0, -250.0, 0.5, -1.0, 5000.0])[:, None, None] + np.zeros((5, 4, 4))
    scene = scene_of(values, kinds=["terrain"] * 5, names=names)
    x, _ = standardise(scene, measure(reader(scene), {"y": 4, "x": 4}, PERCENTILES), PERCENTILES)
    assert x[:, 0, 0].tolist() == [1.5, -2.5, 0.5, -1.0, 0.0]


def test_data_is_never_exactly_zero():
    """Whole numbers meet their median, and flat ground has the slope 0: neither is missing."""
    film = np.random.default_rng(0).integers(10, 20, (1, 30, 30)).astype(np.float32)
    scene = scene_of(np.concatenate([film, np.zeros_like(film)]), kinds=["pan", "terrain"], names=["pan", "slope"])
    scene["observation"][:, 0, 0] = np.nan
    x, _ = standardise(scene, measure(reader(scene), sizes(scene), PERCENTILES), PERCENTILES)
    assert (scene["observation"].values[0] == np.nanmedian(film)).any()
    assert ((x == 0) == np.isnan(scene["observation"].values)).all() and np.abs(x[1]).max() < 1e-6


@pytest.mark.parametrize("reflectances", ["colour", "percentiles"])
def test_terrain_alone_makes_no_pixel_valid(reflectances):
    """Where one band is missing there is no colour, and grey would be a lie."""
    scene = scene_of(np.random.default_rng(0).uniform(0.1, 0.9, (4, 20, 20)), ["reflectance"] * 3 + ["terrain"])
    scene = scene.assign_coords(band=["green", "red", "nir", "slope"])
    scene["observation"][0, 3, 4], scene["observation"][:3, 5, 6] = np.nan, np.nan
    scaling = RobustScaling(reflectances=reflectances)
    _, mask = standardise(shown(scene, scaling), measure(reader(scene), sizes(scene), scaling), scaling)
    assert mask[0, 5, 6] == 0 and mask[0, 3, 4] == (reflectances == "percentiles")
    assert mask[0].sum() == 400 - (2 if reflectances == "colour" else 1)


def test_a_reflectance_without_data_leaves_no_colour():
    scene = scene_of(np.random.default_rng(0).uniform(0.1, 0.9, (4, 20, 20)), ["reflectance"] * 3 + ["terrain"])
    scene = scene.assign_coords(band=["green", "red", "nir", "slope"])
    scene["observation"][1] = np.nan
    with pytest.raises(VigieError, match=r"no pixel whose colour is known; found reflectances without data: \['red'\]"):
        measure(reader(scene), sizes(scene), RobustScaling())
    assert measure(reader(scene), sizes(scene), PERCENTILES)["pixels"].values.tolist() == [400, 0, 400, 400]


def test_terrain_bands_are_those_that_descriptors_know():
    assert set(TERRAIN_SCALES) == set(bands.TERRAIN) and set(UNUSED) == set(bands.NOT_AN_INPUT)


def test_a_band_that_is_empty_or_constant_says_nothing():
    observation = np.random.default_rng(0).normal(size=(3, 9, 9))
    observation[1], observation[2] = np.nan, 7.0
    scene = scene_of(observation)
    statistics = measure(reader(scene), {"y": 9, "x": 9}, PERCENTILES)
    x, mask = standardise(scene, statistics, PERCENTILES)
    assert np.isnan(statistics["p50"].values[1]) and statistics["pixels"].values.tolist() == [81, 0, 81]
    assert (x[1:] == 0).all() and (x[0] != 0).any() and (mask[0] == 1).all()


def test_a_selection_of_bands_takes_its_own_statistics():
    scene, scaling = random_scene(), PERCENTILES
    statistics = measure(reader(scene), sizes(scene), scaling)
    whole, _ = standardise(scene, statistics, scaling)
    part, _ = standardise(scene.isel(band=[2, 0]), statistics, scaling)
    np.testing.assert_array_equal(part, whole[[2, 0]])


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 300_000))
def test_the_lattice_lies_inside_does_not_overlap_and_keeps_its_bound(height, width, max_pixels):
    windows = lattice({"y": height, "x": width}, max_pixels)
    areas = [(w["y"].stop - w["y"].start) * (w["x"].stop - w["x"].start) for w in windows]
    assert min(areas) > 0
    assert all(0 <= w["y"].start < w["y"].stop <= height and 0 <= w["x"].start < w["x"].stop <= width for w in windows)
    if height * width <= max_pixels:
        assert sum(areas) == height * width
    else:
        assert sum(areas) <= max(max_pixels, 128 * 128)
    for d in ("y", "x"):
        cuts = sorted({(w[d].start, w[d].stop) for w in windows})
        assert all(a[1] <= b[0] for a, b in pairwise(cuts))


def test_a_large_scene_is_read_in_a_few_small_windows():
    reads = []

    def read(window):
        y, x = np.mgrid[window["y"], window["x"]]
        reads.append(y.size)
        return scene_of(((y + x) / 40_000.0)[None])

    found = measure(read, {"y": 20_000, "x": 20_000}, PERCENTILES)
    assert len(reads) == 256 and sum(reads) == 2**22 and max(reads) == 128 * 128
    # The sum of two uniform variables is triangular: P16 = sqrt(0.32) / 2, P50 = 1 / 2.
    for name, expected in {"p16": 0.2828, "p50": 0.5, "p84": 0.7172}.items():
        assert abs(float(found[name][0]) - expected) < 0.01


def test_a_large_scene_that_is_mostly_empty_is_looked_at_more_finely():
    def read(window):
        y, x = np.mgrid[window["y"], window["x"]]
        inside = (y > 5000) & (y < 5100) & (x > 900) & (x < 3000)
        return scene_of(np.where(inside, y.astype(float), np.nan)[None], flags=np.where(inside, 0, 1).astype(np.uint8))

    found = measure(read, {"y": 8000, "x": 8000}, RobustScaling(reflectances="percentiles", max_pixels=2**20))
    assert found["pixels"].values[0] > 0 and 5000 < float(found["p50"][0]) < 5100


def test_a_band_that_the_lattice_misses_is_looked_at_more_finely():
    """A thermal band that covers a strip, beside one that covers all; in the last, thinning misses it too."""

    def read(window):
        y, x = np.mgrid[window["y"], window["x"]]
        strip = np.where(x == 905, y.astype(float), np.nan)
        return scene_of(np.stack([x.astype(float), strip, np.full(x.shape, np.nan)]))

    found = measure(read, {"y": 3000, "x": 3000}, RobustScaling(reflectances="percentiles", max_pixels=2**18))
    assert found["pixels"].values[1] == 3000 and abs(float(found["p50"][1]) - 1499.5) < 1e-9
    assert found["pixels"].values[2] == 0 and found["pixels"].values[0] > 200_000


def test_errors_teach():
    scene = random_scene()
    dark = scene.assign(flags=xr.full_like(scene["flags"], FLAGS["shadow"]))
    with pytest.raises(VigieError, match="no pixel to measure"):
        measure(reader(dark), sizes(dark), PERCENTILES)
    statistics = measure(reader(scene), sizes(scene), PERCENTILES)
    with pytest.raises(VigieError, match="bands without statistics; found \\['new'\\]"):
        standardise(scene.assign_coords(band=["b0", "b1", "new"]), statistics, PERCENTILES)
    terrain = scene.assign_coords(kind=("band", ["terrain"] * 3), band=["slope", "relief", "slop"])
    with pytest.raises(VigieError, match="did you mean 'slope'"):
        standardise(terrain, measure(reader(terrain), sizes(terrain), PERCENTILES), PERCENTILES)
    for wrong in ({"percentiles": (50, 16, 84)}, {"exclude": ("shadows",)}, {"clip": 0}, {"epsilon": 1e-6}):
        with pytest.raises(ValidationError):
            RobustScaling(**wrong)


@pytest.mark.realdata
def test_the_stress_of_the_baselines_changes_nothing(samples):
    """Another scene's radiometry (notes, B1: bands 1-5 x 0.75 + 150, 6 + 1500, 7 x 0.9 + 10) costs raw models 28-33 % IoU."""
    import rasterio

    with rasterio.open(samples / "glaciers/s2_debris_chips_everest_sikkim/image157.tif") as file:
        chip = file.read(list(range(1, 8))).astype(np.float32)
    gain = np.array([0.75] * 5 + [1.0, 0.9], np.float32)[:, None, None]
    offset = np.array([150.0] * 5 + [1500.0, 10.0], np.float32)[:, None, None]
    a, b = (
        standardise(s, measure(reader(s), {"y": 500, "x": 500}, PERCENTILES), PERCENTILES)[0]
        for s in (scene_of(chip), scene_of(chip * gain + offset))
    )
    np.testing.assert_allclose(a, b, atol=1e-4)
