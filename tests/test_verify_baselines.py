"""Baselines: features by band name, thresholds against other libraries, trees behind one protocol."""

from __future__ import annotations

import pickle
from functools import partial

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import generic_filter
from skimage.filters import threshold_otsu

from vigie.core import cube
from vigie.core.errors import VigieError
from vigie.core.legend import LabelLegend
from vigie.core.scene import Band
from vigie.verify import baselines, features, thresholds

ICE = LabelLegend("ice", {0: ("not ice", ("land",)), 1: ("ice", ("ice",))})
KINDS = {"thermal": "thermal", "coherence": "coherence", "slope": "terrain", "elevation": "terrain", "pan": "pan"}


def make_scene(names: tuple[str, ...], seed: int = 0, shape: tuple[int, int] = (30, 40)) -> xr.Dataset:
    """Make a scene with ice on its right: bright in every band but swir16."""
    rng = np.random.default_rng(seed)
    ice = np.broadcast_to(np.arange(shape[1]) >= shape[1] // 2, shape)
    brightness = [np.where(ice, 0.1 if name == "swir16" else 0.7, 0.3) + rng.normal(0, 0.03, shape) for name in names]
    bands = [Band(name, KINDS.get(name, "reflectance"), "", i, 10.0, "1") for i, name in enumerate(names, start=1)]
    return xr.Dataset(
        {
            "observation": (("band", "y", "x"), np.stack(brightness).astype(np.float32)),
            "flags": (("y", "x"), np.zeros(shape, np.uint8)),
            "truth": (("y", "x"), ice.astype(np.uint8)),
        },
        coords=cube.band_coordinates(bands),
        attrs={"scene": f"made-{seed}", "legend": "ice"},
    )


OPTICAL = ("blue", "green", "red", "nir", "swir16", "thermal", "coherence", "slope", "elevation")


@pytest.mark.parametrize("size", [3, 5])
def test_window_statistics_equal_a_loop_over_valid_pixels(size: int) -> None:
    image = np.random.default_rng(0).normal(size=(9, 11))
    image[2:6, 3:7] = np.nan
    with np.errstate(all="ignore"):
        mean = generic_filter(image, lambda v: np.mean(v[np.isfinite(v)]) if np.isfinite(v).any() else np.nan, size)
        std = generic_filter(image, lambda v: np.std(v[np.isfinite(v)]) if np.isfinite(v).any() else np.nan, size)
    np.testing.assert_allclose(features.window_mean(image, size), mean)
    np.testing.assert_allclose(features.window_std(image, size), std, atol=1e-7)


def altered(scene: xr.Dataset, gain: float, offset: float) -> xr.Dataset:
    """Change the radiometry of all bands but terrain."""
    scaled = scene["observation"] * np.float32(gain) + np.float32(offset)
    return scene.assign(observation=scene["observation"].where(scene["kind"] == "terrain", scaled))


def test_standardised_bands_do_not_change_with_gain_and_offset() -> None:
    scene = make_scene(OPTICAL)
    a, b = features.standardised(scene), features.standardised(altered(scene, 0.4, 0.05))
    np.testing.assert_allclose(a, b, atol=5e-4)
    a, b = features.standardised_without_shadow(scene), features.standardised_without_shadow(altered(scene, 0.4, 0.0))
    np.testing.assert_allclose(a, b, atol=5e-4)
    np.testing.assert_array_equal(a.sel(band="slope"), scene["observation"].sel(band="slope"))


def test_standardised_layers_keep_only_indices_absolute() -> None:
    scene = make_scene(OPTICAL)
    a, b = (features.pixel_and_context_standardised(s) for s in (scene, altered(scene, 0.4, 0.0)))
    np.testing.assert_allclose(a, b, atol=2e-3)
    low, middle, high = np.percentile(a.sel(feature="red std 9"), [16, 50, 84])
    assert middle == pytest.approx(0.0, abs=1e-5) and high - low == pytest.approx(1.0, abs=1e-3)
    np.testing.assert_array_equal(a.sel(feature="slope"), scene["observation"].sel(band="slope"))


def test_standardising_leaves_flagged_pixels_out() -> None:
    scene = make_scene(("pan",))
    spoilt = scene.copy(deep=True)
    spoilt["observation"].values[0, :10] = 99.0
    spoilt["flags"].values[:10] = cube.FLAGS["saturated"]
    kept = scene.isel(y=slice(10, None))
    np.testing.assert_allclose(features.standardised(spoilt).values[:, 10:], features.standardised(kept).values, rtol=1e-5)
    spoilt["flags"].values[:] = cube.FLAGS["cloud"]
    with pytest.raises(VigieError, match="no clear pixel"):
        features.standardised(spoilt)


def test_absolute_elevation_is_no_feature() -> None:
    scene = make_scene(OPTICAL)
    higher = scene.copy(deep=True)
    higher["observation"].loc[{"band": "elevation"}] += 1000.0
    np.testing.assert_allclose(features.pixel_and_context(scene), features.pixel_and_context(higher), atol=1e-3)


def test_band_order_does_not_matter_and_missing_bands_are_named() -> None:
    scene = make_scene(OPTICAL)
    xr.testing.assert_identical(
        features.pixel_and_context(scene).drop_attrs(), features.pixel_and_context(scene.isel(band=slice(None, None, -1)))
    )
    with pytest.raises(VigieError, match=r"bands are missing.*swir16.*give scenes that have swir16, or"):
        features.pixel(make_scene(("blue", "green", "red", "nir", "coherence", "slope")))
    with pytest.raises(VigieError, match="bands are missing"):
        thresholds.ndsi(make_scene(("pan",)))


def test_otsu_equals_scikit_image() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(90, 20, 4000), rng.normal(210, 15, 2000)])
    assert thresholds.otsu(np.append(values, np.nan)) == pytest.approx(threshold_otsu(values))
    with pytest.raises(VigieError, match="two different valid values"):
        thresholds.otsu(np.full(5, 3.0))


def test_cleaning_removes_specks_and_holes() -> None:
    mask = np.zeros((40, 40), bool)
    mask[5:30, 5:30] = True
    mask[10:13, 10:13] = False
    mask[35, 35] = True
    cleaned = thresholds.MedianClean(3, parts_px=20)(mask)
    assert cleaned[11, 11] and not cleaned[35, 35] and cleaned.sum() == pytest.approx(25 * 25, abs=8)


@pytest.mark.parametrize(
    "baseline",
    [thresholds.IndexThreshold(thresholds.ndsi, 0.4), thresholds.IndexThreshold(thresholds.red_swir_ratio, 2.0)],
)
def test_index_thresholds_find_ice(baseline: baselines.Baseline) -> None:
    scene = make_scene(OPTICAL)
    probability = baseline.fit([]).probability(scene)
    assert probability.shape == (2, 30, 40) and (np.argmax(probability, 0) == scene["truth"].values).all()


@pytest.mark.parametrize(
    "baseline", [thresholds.TrainOtsu(), thresholds.OwnOtsu(), thresholds.OwnOtsu(clean=thresholds.MedianClean(7))]
)
def test_otsu_finds_ice_on_film_and_leaves_nodata_out(baseline: baselines.Baseline) -> None:
    scene = make_scene(("pan",))
    scene["observation"].values[:, :4] = np.nan
    scene["flags"].values[:4] = cube.FLAGS["nodata"]
    probability = baseline.fit([make_scene(("pan",), seed=1)]).probability(scene)
    assert np.isnan(probability[:, :4]).all()
    assert (np.argmax(probability, 0) == scene["truth"].values)[8:].mean() > 0.99


def test_own_threshold_follows_the_exposure_and_the_training_one_does_not() -> None:
    scene, dark = make_scene(("pan",)), make_scene(("pan",))
    dark["observation"] = dark["observation"] * np.float32(0.5)
    own, train = thresholds.OwnOtsu().fit([scene]), thresholds.TrainOtsu().fit([scene])
    np.testing.assert_array_equal(own.probability(dark), own.probability(scene))
    assert train.probability(dark)[1].mean() < 0.2 < train.probability(scene)[1].mean()


@pytest.mark.parametrize(
    "classifier", [partial(baselines.random_forest, trees=5), partial(baselines.gradient_boosting, iterations=5)]
)
@pytest.mark.parametrize(("recipe", "names"), [(features.pixel_and_context, OPTICAL), (features.film_local, ("pan",))])
def test_trees_learn_predict_and_repeat(classifier, recipe: features.Recipe, names: tuple[str, ...]) -> None:
    baseline = baselines.Trees(recipe, classifier, ICE, pixels=300)
    train, test = make_scene(names), make_scene(names, seed=1)
    test["observation"].values[:, 0, 0] = np.nan
    test["flags"].values[0, 0] = cube.FLAGS["nodata"]
    fitted = baseline.fit([train])
    probability = fitted.probability(test)
    assert np.isnan(probability[:, 0, 0]).all()
    np.testing.assert_allclose(probability.sum(0)[1:], 1.0, rtol=1e-5)
    assert (np.argmax(probability, 0) == test["truth"].values).mean() > 0.95
    np.testing.assert_array_equal(baseline.fit([train]).probability(test), probability)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).probability(test), probability)  # noqa: S301


def test_unknown_truth_is_never_drawn_and_one_class_is_refused() -> None:
    scene = make_scene(("pan",))
    scene["truth"].values[:, :25] = 255
    baseline = baselines.Trees(features.film_intensity, partial(baselines.random_forest, trees=2), ICE)
    assert (baseline.draw(scene).rows == 1).all() and baseline.draw(scene).rows.size == 30 * 15
    with pytest.raises(VigieError, match="at least two classes"):
        baseline.fit([scene])


def cut(scene: xr.Dataset, *windows: tuple[slice, slice]) -> xr.Dataset:
    asked = np.zeros((scene.sizes["y"], scene.sizes["x"]), bool)
    for window in windows:
        asked[window] = True
    return scene.assign(asked=(("y", "x"), asked))


EVERY = slice(None)


@pytest.mark.parametrize("scale", [features.unscaled, features.standardised])
def test_what_is_drawn_does_not_depend_on_how_a_scene_is_cut(scale: features.Scale) -> None:
    baseline = baselines.Trees(partial(features.film_local, scale=scale), baselines.random_forest, ICE, pixels=100)
    scene = make_scene(("pan",))
    whole = baseline.draw(scene)
    halves = baseline.draw(cut(scene, (EVERY, slice(0, 11)), (EVERY, slice(11, None))))
    np.testing.assert_array_equal(whole.table, halves.table)
    part = baseline.draw(cut(scene, (EVERY, slice(0, 11)), (EVERY, slice(30, 32))))
    assert part.rows.size == 100 and set(part.rows) == {0, 1}
    kept = baseline.recipe(scene).values[:, :, [*range(11), 30, 31]].reshape(7, -1)
    assert {tuple(row) for row in part.table.tolist()} <= {tuple(column) for column in kept.T.tolist()}


def test_parts_of_a_scene_are_predicted_as_in_the_whole() -> None:
    recipe = partial(features.film_local, scale=features.standardised)
    fitted = baselines.Trees(recipe, partial(baselines.random_forest, trees=3), ICE, pixels=200).fit([make_scene(("pan",))])
    scene, window = make_scene(("pan",), seed=1), (slice(0, 9), slice(0, 8))
    np.testing.assert_array_equal(fitted.probability(cut(scene, window))[:, *window], fitted.probability(scene)[:, *window])
    assert np.isnan(fitted.probability(cut(scene, window))[:, 9:]).all()


def test_a_pooled_threshold_is_that_of_what_may_be_learnt_from(monkeypatch: pytest.MonkeyPatch) -> None:
    scene, window = make_scene(("pan",)), (EVERY, slice(10, 30))
    assert thresholds.TrainOtsu().fit([cut(scene, window)]) == thresholds.TrainOtsu().fit([scene.isel(x=slice(10, 30))])
    monkeypatch.setattr(thresholds, "POOLED_PIXELS", 100)
    seen = []
    monkeypatch.setattr(thresholds, "otsu", lambda values: seen.append(values.size) or 0.5)
    thresholds.TrainOtsu().fit(iter([scene, scene]))
    assert seen == [200]


def test_nothing_is_learnt_under_clouds() -> None:
    scene = make_scene(("pan",))
    scene["flags"].values[:, :25] = cube.FLAGS["cloud"]
    baseline = baselines.Trees(features.film_intensity, partial(baselines.random_forest, trees=2), ICE)
    assert baseline.draw(scene).rows.size == 30 * 15


def test_jitter_copies_alter_only_their_kinds() -> None:
    jitter = baselines.Jitter({"reflectance": (0.5, 0.6, 0.1, 0.2)}, copies=2)
    scene = make_scene(OPTICAL)
    same, first, second = jitter(scene, np.random.default_rng(0))
    assert same is scene and not first.equals(second)
    np.testing.assert_array_equal(first["observation"].sel(band="slope"), scene["observation"].sel(band="slope"))
    gains = [np.polyfit(scene["observation"].sel(band=b).values.ravel(), first["observation"].sel(band=b).values.ravel(), 1)
             for b in ("red", "nir")]  # fmt: skip
    np.testing.assert_allclose(gains[0], gains[1], rtol=1e-3)
    assert 0.5 <= gains[0][0] <= 0.6 and 0.1 <= gains[0][1] <= 0.2
