"""Training samples of swaths and their folds: a function of seed and step, each pixel once a pass, nothing held out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from vigie.core.errors import VigieError
from vigie.core.swath import Channel, channel_coordinates
from vigie.learn.retrieval_inputs import Inputs
from vigie.learn.swath_folds import SwathFoldSettings, fold_of_pixels, folds_in
from vigie.learn.swaths import (
    ChannelScaling,
    SwathSource,
    SwathWindowSettings,
    footprints,
    learnt_from,
    measure,
    scored_on,
    with_target,
    without_rain,
)

CHANNELS = (Channel(36.64, "V"), Channel(36.64, "H"), Channel(89.0, "V"))
NAMES = tuple(channel.name for channel in CHANNELS)


def swath(scans=12, pixels=5, seed=0, groups=None):
    rng = np.random.default_rng(seed)
    shape = (scans, pixels)
    return xr.Dataset(
        {
            "brightness_temperature": (("scan", "pixel", "channel"), rng.normal(250, 20, (*shape, 3)).astype(np.float32)),
            "flags": (("scan", "pixel"), np.zeros(shape, np.uint8)),
            "truth": (("scan", "pixel"), rng.gamma(1.0, 2.0, shape).astype(np.float32)),
            "total_column_water_vapour": (("scan", "pixel"), rng.uniform(5, 60, shape).astype(np.float32)),
            "latitude": (("scan", "pixel"), rng.uniform(-40, 40, shape)),
            "longitude": (("scan", "pixel"), rng.uniform(-170, 170, shape)),
        },
        coords={
            "group": ("scan", groups or [f"01-{1 + scan // 3:02d}" for scan in range(scans)]),
            **channel_coordinates(CHANNELS),
        },
        attrs={"swath": f"swath-{seed}", "sensor": "GMI"},
    )


def parts(**changes):
    data = [swath(seed=seed, **changes) for seed in (0, 1)]
    return [
        footprints(d, Inputs(NAMES), fold)
        for d, fold in zip(data, fold_of_pixels(data, SwathFoldSettings(count=2)), strict=True)
    ]


def source(made, fold=0, **settings):
    scaling = measure(made, lambda part: learnt_from(part, fold))
    return SwathSource(made, lambda part: learnt_from(part, fold), scaling, SwathWindowSettings(**settings), seed=3)


def test_a_batch_is_a_function_of_seed_and_step():
    one, two = source(parts(), batch=7).batch(5), source(parts(), batch=7).batch(5)
    assert torch.equal(one.x, two.x) and torch.equal(one.y, two.y)
    assert not torch.equal(one.x, source(parts(), batch=7).batch(6).x)


def test_every_footprint_comes_once_in_a_pass_and_none_that_is_held_out():
    made = parts()
    allowed = np.concatenate([part.y[learnt_from(part, 0)] for part in made])
    batches = source(made, batch=10)
    drawn = torch.cat([batches.batch(step).y.flatten() for step in range(len(allowed) // 10)])
    assert len(allowed) % 10 == 0
    np.testing.assert_array_equal(np.sort(drawn.numpy()), np.sort(allowed))


def test_windows_weigh_nothing_that_is_held_out_and_pad_what_a_narrow_swath_lacks():
    made = parts()
    batch = source(made, size=8, batch=6).batch(0)
    assert batch.x.shape == (6, 3, 8, 8) and batch.mask.shape == (6, 2, 8, 8)
    assert torch.isnan(batch.x[..., 5:]).all() and (batch.weight[..., 5:] == 0).all() and (batch.mask[..., 5:] == 0).all()
    held = np.concatenate([part.y[part.fold == 0] for part in made])
    assert not np.isin(batch.y[batch.weight > 0].numpy(), held).any()


def test_standardised_channels_have_no_mean_and_unit_deviation_where_they_are_learnt_from():
    made = parts()
    scaling = measure(made, lambda part: learnt_from(part, 0))
    chosen = np.concatenate([part.x[learnt_from(part, 0)] for part in made])
    np.testing.assert_allclose([scaling.mean[n] for n in NAMES], chosen.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose([scaling.deviation[n] for n in NAMES], chosen.std(axis=0), rtol=1e-4)


def test_dropped_channels_are_missing_and_one_stays():
    batches = source(parts(), batch=4, drop_channels=0.9)
    missing = [torch.isnan(batches.batch(step).x).all(dim=(0, 2, 3)).sum().item() for step in range(40)]
    assert 0 in missing and max(missing) == 2


def test_a_new_channel_takes_the_scale_of_a_near_one_and_a_strange_one_is_refused():
    scaling = ChannelScaling(mean={"89.00V": 250.0, "36.64H": 180.0}, deviation={"89.00V": 20.0, "36.64H": 40.0})
    assert scaling.of(["85.50V", "37.00H"]).tolist() == [[250.0, 20.0], [180.0, 40.0]]
    with pytest.raises(VigieError, match=r"knows no channel like 10\.65V"):
        scaling.of(["10.65V"])


def test_ancillary_fields_follow_the_channels():
    data = swath()
    made = footprints(data, Inputs(NAMES, ("total_column_water_vapour",)), np.zeros((12, 5), np.int16))
    assert made.names == (*NAMES, "total_column_water_vapour") and made.bands.shape[0] == 4
    np.testing.assert_array_equal(made.x[..., 3], data["total_column_water_vapour"].values)


def test_a_constant_channel_is_refused():
    data = swath()
    data["brightness_temperature"][..., 1] = 200.0
    made = [footprints(data, Inputs(NAMES), np.full((12, 5), -1, np.int16))]
    with pytest.raises(VigieError, match=r"36\.64H says nothing"):
        measure(made, lambda part: learnt_from(part, -1))


def test_nothing_to_learn_from_is_refused():
    data = swath()
    made = [footprints(data, Inputs(NAMES), np.zeros((12, 5), np.int16))]
    scaling = ChannelScaling(mean=dict.fromkeys(NAMES, 250.0), deviation=dict.fromkeys(NAMES, 20.0))
    with pytest.raises(VigieError, match="nothing to learn from"):
        SwathSource(made, lambda part: learnt_from(part, 0), scaling, SwathWindowSettings())


def test_orbits_of_one_day_are_held_out_together_where_their_time_is_known():
    times = np.repeat(np.array(["2020-03-01T23:00", "2020-03-02T01:00", "2020-03-02T05:00"], "datetime64[ns]"), 4)
    data = swath(groups=[f"orbit-{scan // 4}" for scan in range(12)]).assign_coords(time=("scan", times))
    (fold,) = fold_of_pixels([data], SwathFoldSettings(by="day", count=2))
    assert len(set(fold[:4].ravel())) == len(set(fold[4:].ravel())) == 1
    assert fold[0, 0] != fold[4, 0]


def test_suspect_footprints_are_scored_and_not_learnt_from():
    data = swath()
    data["flags"][2, 3] = 4
    part = footprints(
        data, Inputs(NAMES), np.where(np.arange(12)[:, None] < 6, 0, -1).astype(np.int16) * np.ones((1, 5), np.int16)
    )
    assert not learnt_from(part, -1)[2, 3] and scored_on(part, 0)[2, 3]


def test_sensors_that_see_alike_named_channels_otherwise_share_no_batch():
    data = [swath(seed=0), swath(seed=1)]
    data[1] = data[1].assign_coords(footprint_km=("channel", [40.0, 40.0, 15.0]))
    made = [footprints(d, Inputs(NAMES), np.full((12, 5), -1, np.int16)) for d in data]
    assert len(source(made, fold=-1).groups) == 2


@pytest.mark.parametrize("by", ["day", "orbit", "region"])
def test_units_are_never_split(by):
    data = [swath(seed=0), swath(seed=1)]
    folds = fold_of_pixels(data, SwathFoldSettings(by=by, count=3, box_deg=20))
    assert folds_in(folds) == [0, 1, 2]
    seen: dict[object, set[int]] = {}
    for part, fold in zip(data, folds, strict=True):
        for (scan, pixel), number in np.ndenumerate(fold):
            box = tuple(int(part[name].values[scan, pixel] // 20) for name in ("latitude", "longitude"))
            seen.setdefault(box if by == "region" else str(part["group"].values[scan]), set()).add(int(number))
    assert all(len(numbers) == 1 for numbers in seen.values())


def test_regimes_are_ranges_of_water_vapour():
    data = swath()
    (fold,) = fold_of_pixels([data], SwathFoldSettings(by="regime", count=3))
    vapour = data["total_column_water_vapour"].values
    assert vapour[fold == 0].max() <= vapour[fold == 1].min() and vapour[fold == 1].max() <= vapour[fold == 2].min()
    with pytest.raises(VigieError, match="regimes are ranges of water vapour"):
        fold_of_pixels([data.drop_vars("total_column_water_vapour")], SwathFoldSettings(by="regime"))


def test_days_that_test_everything_or_nothing_are_refused():
    data = swath()
    (fold,) = fold_of_pixels([data], SwathFoldSettings(test_days=(4, 4)))
    assert set(fold[:9].ravel()) == {-1} and set(fold[9:].ravel()) == {0}
    for days in ((1, 31), (20, 21)):
        with pytest.raises(VigieError, match="everything, or nothing"):
            fold_of_pixels([data], SwathFoldSettings(test_days=days))
    with pytest.raises(VigieError, match="does not tell its days"):
        fold_of_pixels([swath(groups=["orbit"] * 12)], SwathFoldSettings(test_days=(1, 2)))


def test_too_few_units_are_refused():
    with pytest.raises(VigieError, match="cannot make 3 folds by sensor"):
        fold_of_pixels([swath()], SwathFoldSettings(by="sensor", count=3))


def test_samples_to_adapt_to_follow_and_their_rain_is_unknown():
    one, other = source(parts(), batch=4).batch(0), source(parts(), batch=3).batch(1)
    both = with_target(one, other)
    assert both.target.tolist() == [False] * 4 + [True] * 3
    torch.testing.assert_close(both.x[4:], other.x)
    assert torch.isnan(both.y[4:]).all() and (both.weight[4:] == 0).all() and both.scenes == one.scenes + other.scenes
    with pytest.raises(VigieError, match="has other channels"):
        with_target(one, replace(other, bands=other.bands[:2]))


def test_weights_of_a_part_are_those_of_its_footprints():
    made = parts()
    scaling = measure(made, lambda part: learnt_from(part, 0))
    settings = SwathWindowSettings(batch=30)
    source_ = SwathSource(made, lambda p: learnt_from(p, 0), scaling, settings, 0, lambda p: 2.0 * (p.id == "swath-1"))
    batch = source_.batch(0)
    assert set(batch.scenes) == {"swath-1"} and set(batch.weight.flatten().tolist()) == {2.0}


def test_dry_footprints_are_told_by_their_rate_or_by_what_falls():
    data = swath()
    data["truth"][0, 0] = 0.0
    assert without_rain(data).sum() == 1
    data["phase"] = (("scan", "pixel"), np.full((12, 5), 255, np.uint8))
    data["phase"][3, :] = 0
    assert without_rain(data).sum() == 1, "a rate above 0 is rain, whatever the phase"
    assert without_rain(data.drop_vars("truth"))[3].all()
