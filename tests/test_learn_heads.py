"""What class logits mean: loss, estimate and stored variables agree with brute force and with what a reader makes of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from vigie.core.errors import VigieError
from vigie.core.legend import LabelLegend, Legend, LegendClass
from vigie.learn.heads import ClassHead, Head
from vigie.learn.losses import LossSettings, build_loss, cross_entropy, dice
from vigie.learn.windows import Batch

LEGEND = Legend(
    "glacier",
    (
        LegendClass(0, "other", "#888888"),
        LegendClass(1, "clean ice", "#00aaff"),
        LegendClass(4, "debris", "#aa5500"),
        LegendClass(9, "lake", "#0000ff"),
    ),
)
DEBRIS = LabelLegend("debris", {0: ("no debris", ("other", "clean ice", "lake")), 1: ("debris", ("debris",))})


def logits(members: int = 3, seed: int = 0) -> torch.Tensor:
    return 2 * torch.randn(members, 2, 4, 5, 6, generator=torch.Generator().manual_seed(seed))


def labelled() -> Batch:
    generator = torch.Generator().manual_seed(1)
    rows = torch.randint(-1, 2, (2, 5, 6), generator=generator)
    weight, nothing = torch.rand(2, 5, 6, generator=generator), torch.zeros(0)
    return Batch(nothing, nothing, nothing, rows, torch.from_numpy(DEBRIS.matrix(LEGEND)), weight, ("a", "b"))


def test_the_loss_is_the_objective_on_the_labels_of_the_batch() -> None:
    raw, batch = logits()[0], labelled()
    head: Head = ClassHead(LEGEND, build_loss(LossSettings(cross_entropy=2.0, dice=0.5)))
    on = (raw, batch.rows, batch.matrix, batch.weight)
    torch.testing.assert_close(head.loss(raw, batch, 0.0), 2 * cross_entropy(*on) + 0.5 * dice(*on))


def test_the_objective_is_told_the_progress() -> None:
    raw, batch = logits()[0], labelled()
    head = ClassHead(LEGEND, build_loss(LossSettings(cross_entropy=0.0, dice=0.0, boundary=1.0)))
    assert float(head.loss(raw, batch, 0.0)) == 0.0
    torch.testing.assert_close(head.loss(raw, batch, 0.5), 0.5 * head.loss(raw, batch, 1.0))


def test_an_estimate_is_mean_probabilities_and_normalised_mutual_information() -> None:
    raw, head = logits(), ClassHead(LEGEND)
    found = head.estimate(raw).numpy()
    assert found.shape == (2, head.layers, 5, 6)
    assert (head.channels, head.layers) == (4, 5)
    odds = np.exp(raw.numpy().astype(np.float64))
    p = odds / odds.sum(axis=2, keepdims=True)
    mean = p.mean(axis=0)
    information = -(mean * np.log(mean)).sum(axis=1) + (p * np.log(p)).sum(axis=2).mean(axis=0)
    np.testing.assert_allclose(found[:, :4], mean, atol=1e-6)
    np.testing.assert_allclose(found[:, 4], information / np.log(4), atol=1e-5)


def test_one_member_has_no_spread() -> None:
    assert (ClassHead(LEGEND).estimate(logits(members=1))[:, 4] == 0).all()


def test_variables_fit_their_template_and_read_back_in_physical_units() -> None:
    head = ClassHead(LEGEND)
    estimate, missing = head.estimate(logits()).numpy()[0], np.zeros((5, 6), dtype=bool)
    missing[0, :2] = True
    stored, template = head.variables(estimate, missing), head.template((5, 6))
    assert set(stored) == set(template.data_vars)
    filled = template.copy()
    for name, values in stored.items():
        empty = template[name]
        assert (values.dims, values.shape, values.dtype) == (empty.dims, empty.shape, empty.dtype)
        filled[name] = (values.dims, values.values, {**empty.attrs, "_FillValue": empty.encoding["_FillValue"]})
    read = xr.decode_cf(filled)
    assert np.isnan(read["probability"].values[:, missing]).all()
    assert np.isnan(read["spread"].values[missing]).all()
    np.testing.assert_allclose(read["probability"].values[:, ~missing], estimate[:4, ~missing], atol=0.51e-4)
    np.testing.assert_allclose(read["spread"].values[~missing], estimate[4, ~missing], atol=0.51e-4)
    assert (stored["map"].values[missing] == LEGEND.unknown).all()
    assert (stored["map"].values == LEGEND.codes[estimate[:4].argmax(axis=0)])[~missing].all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_estimate_that_is_no_number_is_refused_where_there_is_data(value: float) -> None:
    head = ClassHead(LEGEND)
    estimate, missing = head.estimate(logits()).numpy()[0], np.zeros((5, 6), dtype=bool)
    estimate[:, 1, 2] = value
    with pytest.raises(VigieError, match="not a number; found 1 of 30 pixels"):
        head.variables(estimate, missing)
    missing[1, 2] = True
    assert head.variables(estimate, missing)["map"].values[1, 2] == LEGEND.unknown


def test_the_map_says_what_its_codes_mean() -> None:
    attributes = ClassHead(LEGEND).template((1, 1))["map"].attrs
    assert attributes["flag_values"].tolist() == [0, 1, 4, 9]
    assert attributes["flag_meanings"] == "other clean_ice debris lake"
    assert attributes["flag_colors"].split()[2] == "#aa5500"
