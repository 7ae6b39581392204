"""Forecasts of maps: bounds, quantiles, samples, members, and a network that learns what can be known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vigie.core.errors import VigieError
from vigie.learn.fit import FitSettings, Task, connect, fit
from vigie.learn.forecast import model as models
from vigie.learn.forecast.bounds import Bounds
from vigie.learn.forecast.inputs import CONTEXT, Moment, column_count, columns
from vigie.learn.forecast.loss import forecast_loss
from vigie.learn.forecast.members import at_levels, member_levels, shuffled
from vigie.learn.forecast.network import LEVELS, MIDDLE, ForecastNetwork, ForecastNetworkSettings, latent, weights_of_levels
from vigie.learn.forecast.samples import (
    DAY,
    ForecastBatch,
    ForecastSource,
    ForecastWindowSettings,
    example,
    stacked,
    starts_of,
)

SIDE = 24
FIRST = np.datetime64("2001-01-01")
SMALL = ForecastNetworkSettings(widths=(8, 16))


class Drifting:
    """Maps in which a front moves by a cell a day to the east, and comes back after `SIDE` days."""

    def state(self, day, window):
        if day < FIRST:
            return None
        at = int((day - FIRST).astype(int)) % SIDE
        ice = (np.arange(SIDE)[None, :] < at).astype(np.float32).repeat(SIDE, axis=0)
        return ice[window["y"], window["x"]]

    def measured(self, day, window):
        return self.state(day, window)

    def usual(self, day, window, unlike):
        return np.full((SIDE, SIDE), 0.5, np.float32)[window["y"], window["x"]]

    def sea(self, window):
        return np.ones((SIDE, SIDE), bool)[window["y"], window["x"]]

    scored = sea


def source(**changes):
    days = [FIRST + n * DAY for n in range(8, 60)]
    centres = np.argwhere(np.ones((SIDE, SIDE), bool))
    windows = ForecastWindowSettings(**{"size": 16, "batch": 4, "turn": False} | changes)
    return ForecastSource(Drifting(), starts_of(days, (1, 2)), centres, (SIDE, SIDE), windows, seed=3)


@given(arrays.arrays(np.float32, (6,), elements=st.floats(-3, 3, width=32)))
def test_censored_errors_are_those_of_what_is_read_where_the_truth_is_inside(values):
    bounds, z = Bounds(), torch.from_numpy(values)
    assert torch.equal(bounds.error(z, torch.full_like(z, 0.5)), z - 0.5)
    for end in (0.0, 1.0):
        truth = torch.full_like(z, end)
        read = (bounds.cut(z) - truth).abs()
        # On a bound the error is 0 exactly where what is read is the bound, and never smaller than what is read.
        assert torch.equal(bounds.error(z, truth) == 0, read == 0)
        assert bool((bounds.error(z, truth).abs() >= read).all())


def test_quantiles_of_a_censored_distribution_are_found():
    """The loss is least at the quantiles of max(0, normal): checked against those of a large sample."""
    random = torch.Generator().manual_seed(1)
    truth = torch.randn(20000, generator=random).mul(0.3).add(0.2).clamp(0, 1).view(-1, 1, 1)
    raw = torch.zeros(1, 1 + len(LEVELS), 1, 1, requires_grad=True)
    optimiser = torch.optim.Adam([raw], lr=0.05)
    count = len(truth)
    fixed = {"x": torch.zeros(count, 1, 1, 1), "mask": torch.ones(count, 1, 1, 1), "bands": torch.zeros(count, CONTEXT)}
    batch = ForecastBatch(**fixed, now=torch.zeros(count, 1, 1), truth=truth, scale=torch.full((count,), 0.5), scenes=())
    for _ in range(400):
        optimiser.zero_grad()
        forecast_loss(raw.expand(count, -1, 1, 1), batch, 0.0).backward()
        optimiser.step()
    _, quantiles = latent(raw.detach(), torch.zeros(1, 1, 1), torch.tensor([0.5]))
    found = Bounds().cut(quantiles)[0, :, 0, 0]
    np.testing.assert_allclose(found, np.quantile(truth, LEVELS), atol=0.03)


def test_levels_weigh_one_and_quantiles_never_cross():
    assert float(weights_of_levels().sum()) == pytest.approx(1)
    raw = torch.randn(3, 1 + len(LEVELS), 4, 5, generator=torch.Generator().manual_seed(0)) * 5
    _, quantiles = latent(raw, torch.rand(3, 4, 5), torch.tensor([0.1, 0.2, 0.3]))
    assert bool((quantiles.diff(dim=1) >= 0).all()) and LEVELS[MIDDLE] == 0.5


def test_what_is_shown_tells_nothing_of_the_future():
    window = {"y": slice(0, SIDE), "x": slice(0, SIDE)}

    class Ending(Drifting):
        def state(self, day, window):
            return super().state(day, window) if day <= FIRST + 20 * DAY else None

    shown = [example(maps, FIRST + 20 * DAY, 5, window)["x"] for maps in (Drifting(), Ending())]
    np.testing.assert_array_equal(*shown)


def test_batches_are_functions_of_their_number_and_pair_by_date():
    first, again, other = source().batch(5), source().batch(5), source().batch(6)
    assert torch.equal(first.x, again.x) and torch.equal(first.truth, again.truth)
    assert not torch.equal(first.x, other.x)
    days = [np.datetime64("2017-07-30"), np.datetime64("2017-07-31"), np.datetime64("2017-09-01")]
    assert starts_of(days, (1,))[1] == [days[0]]
    with pytest.raises(VigieError, match="nothing to learn"):
        starts_of(days, (1, 3))


def test_turned_crops_turn_the_truth_too():
    batch = source(turn=True, batch=32).batch(0)
    for now, truth in zip(batch.now, batch.truth, strict=True):
        # The front moves on: what had ice has it still, whichever way the crop lies; unless the front began anew.
        if truth.sum() > now.sum():
            assert bool((truth >= now).all())
    assert len({tuple(now.diff(dim=0).abs().sum(dim=1).tolist()) for now in batch.now}) > 2


def test_a_front_that_moves_is_forecast(tmp_path):
    torch.manual_seed(0)
    network = ForecastNetwork(column_count(), SMALL)
    fit_settings = FitSettings(steps=150, learning_rate=5e-3, warmup_steps=10, average=0.9)
    fit(Task(network, forecast_loss, source(batch=8).batch), fit_settings, tmp_path, connect(fit_settings, "cpu"))
    model = models.ForecastModel([network.eval()], SMALL)
    window, day = {"y": slice(0, SIDE), "x": slice(0, SIDE)}, FIRST + 34 * DAY
    mean, quantiles = model.forecast(stacked([example(Drifting(), day, 2, window)]))
    truth, now = (Drifting().state(d, window) for d in (day + 2 * DAY, day))
    error = np.sqrt(((mean[0].numpy() - truth) ** 2).mean())
    assert error < 0.5 * np.sqrt(((now - truth) ** 2).mean())
    assert quantiles.shape == (1, len(LEVELS), SIDE, SIDE) and float(quantiles.min()) >= 0 and float(quantiles.max()) <= 1


def test_a_model_is_read_back_as_it_was(tmp_path):
    torch.manual_seed(1)
    model = models.ForecastModel([ForecastNetwork(column_count(), SMALL).eval()], SMALL, facts={"limits": ["few years"]})
    model.save(tmp_path / "all")
    window = {"y": slice(0, 15), "x": slice(0, 13)}
    batch = stacked([example(Drifting(), FIRST + 9 * DAY, 1, window)])
    back = models.load(tmp_path / "all")
    assert all(torch.equal(a, b) for a, b in zip(model.forecast(batch), back.forecast(batch), strict=True))
    weights = next((tmp_path / "all").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(VigieError):
        models.load(tmp_path / "all")


@settings(max_examples=30, deadline=None)
@given(arrays.arrays(np.float32, (6, 3, 2), elements=st.floats(-1, 1, width=32)))
def test_members_keep_the_margins_and_the_order(changes):
    quantiles = np.sort(np.random.default_rng(0).random((len(LEVELS), 3, 2)).astype(np.float32), axis=0)
    members = shuffled(quantiles, LEVELS, changes)
    np.testing.assert_array_equal(np.sort(members, axis=0), at_levels(quantiles, LEVELS, member_levels(6)))
    order = np.argsort(changes, axis=0, kind="stable")
    assert (np.diff(np.take_along_axis(members, order, axis=0), axis=0) >= 0).all()


def test_columns_say_that_nothing_changed_where_nothing_is_known():
    half = np.full((2, 2), 0.5, np.float32)
    shown = columns(half, {1: None}, half, half)
    assert shown.shape == (column_count(), 2, 2) and not shown.any()
    assert Moment(100, 1).context.shape == (CONTEXT,)
