"""Retrieval networks: any channels in any order, any of them missing; and the reference QRNN on real pairs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.nn import functional as F

from vigie.core.errors import VigieError
from vigie.core.swath import Channel, channel_coordinates
from vigie.learn.channels import WIDTH, describe
from vigie.learn.rain_heads.quantile import QuantileHead
from vigie.learn.retrieval import ImageNetwork, PixelNetwork, RetrievalSettings, build
from vigie.learn.stem import BandStem

FREQUENCIES = (10.65, 10.65, 18.7, 18.7, 23.8, 36.64, 36.64, 89.0, 89.0, 166.0, 166.0, 183.31, 183.31)
SIDEBANDS = (*[0.0] * 11, 3.0, 7.0)
COLUMNS = ("10v", "10h", "18v", "18h", "23v", "36v", "36h", "89v", "89h", "166v", "166h", "183-3", "183-7")
GMI = [Channel(f, p, incidence_deg=52.9, sideband_ghz=s) for f, p, s in zip(FREQUENCIES, "VHVHVVHVHVHVV", SIDEBANDS)]
BANDS = describe(xr.Dataset(coords=channel_coordinates(GMI)))


def inputs(count=2, size=(8, 16), seed=0):
    x = torch.randn(count, len(GMI), *size, generator=torch.Generator().manual_seed(seed))
    mask = torch.zeros(count, 2, *size)
    mask[:, 0] = 1.0
    return x, mask


def network(name, outputs=5):
    torch.manual_seed(0)
    made = build(RetrievalSettings(name=name, hidden=(16, 12), widths=(8, 16)), outputs)
    return made.double().eval()


each = pytest.mark.parametrize("name", ["pixel", "unet"])


@each
@given(order=st.permutations(range(len(GMI))))
@settings(max_examples=10, deadline=None)
def test_the_order_of_channels_is_of_no_concern(name, order):
    x, mask = inputs()
    x[0, 4], x[1, 2, 3] = math.nan, math.nan
    one = network(name)
    found = one(x[:, order].double(), mask.double(), BANDS[list(order)].double())
    torch.testing.assert_close(found, one(x.double(), mask.double(), BANDS.double()), rtol=0, atol=1e-10)


@each
@given(missing=st.sets(st.integers(0, len(GMI) - 1)), left_out=st.integers(0, len(GMI) - 1))
@settings(max_examples=15, deadline=None)
def test_any_subset_of_channels_has_an_answer(name, missing, left_out):
    x, mask = inputs()
    x[:, list(missing)] = math.nan
    one = network(name)
    raw = one(x.double(), mask.double(), BANDS.double())
    assert raw.shape == (2, 5, 8, 16) and torch.isfinite(raw).all()
    kept = [i for i in range(len(GMI)) if i != left_out]
    assert torch.isfinite(one(x[:, kept].double(), mask.double(), BANDS[kept].double())).all()


@each
def test_a_missing_channel_is_not_a_channel_of_value_zero(name):
    x, mask = inputs()
    x[:, 3] = 0.0
    one = network(name)
    with_zero = one(x.double(), mask.double(), BANDS.double())
    x[:, 3] = math.nan
    assert (one(x.double(), mask.double(), BANDS.double()) - with_zero).abs().max() > 1e-3


def test_a_pixel_network_is_an_mlp_of_each_pixel() -> None:
    one = network("pixel")
    x, mask = (t.double() for t in inputs())
    raw = one(x, mask, BANDS.double())
    torch.testing.assert_close(raw[1, :, 3:4, 5:6], one(x[1:, :, 3:4, 5:6], mask[1:, :, 3:4, 5:6], BANDS.double())[0])
    marked = BANDS.double().clone()
    marked[:, -1] = 1
    features = one.stem._features(torch.cat([BANDS.double(), marked]))
    weight = one.stem.kernels(features)[: len(GMI)] / math.sqrt(2 * len(GMI))
    first = x[1, :, 3, 5] @ weight + one.stem.mask_kernels[:, 0, 0, 0] + one.stem.biases(features).mean(dim=0)
    one_more, last = one.body.layers[1], one.body.layers[-1]
    second = one_more.weight[:, :, 0, 0] @ F.silu(first) + one_more.bias
    torch.testing.assert_close(raw[1, :, 3, 5], last.weight[:, :, 0, 0] @ F.silu(second) + last.bias)
    assert one.multiple == one.receptive_field == 1


def test_sizes_are_those_of_the_references() -> None:
    """The reference U-Net of 4 inputs and 99 outputs has 1.93 million parameters, transposed convolutions included."""
    body = ImageNetwork(99).body
    assert sum(p.numel() for p in body.parameters()) == pytest.approx(1.93e6, rel=0.05)
    assert sum(p.numel() for p in PixelNetwork(99).body.parameters()) == 128 * 128 + 128 + 128 * 99 + 99


def test_a_unet_refuses_what_it_cannot_halve() -> None:
    x, mask = inputs(size=(6, 9))
    with pytest.raises(VigieError, match="cannot halve"):
        ImageNetwork(3, (4, 8))(x, mask, BANDS)


def test_a_unet_can_know_its_sensor() -> None:
    torch.manual_seed(0)
    one = build(RetrievalSettings(name="unet", widths=(4, 8), norms="sensor"), 3)
    x, mask = inputs()
    one(x, mask, BANDS).square().mean().backward()
    told = [p.grad.abs().sum() for n, p in one.named_parameters() if "modulation.weight" in n]
    assert told and all(gradient > 0 for gradient in told)


def test_bad_settings_are_refused() -> None:
    for wrong in ({"name": "cnn"}, {"hidden": ()}, {"widths": (0,)}, {"dropout": 1.0}, {"depth": 3}):
        with pytest.raises(ValidationError):
            RetrievalSettings(**wrong)


def test_a_stem_of_one_pixel_keeps_the_variance() -> None:
    torch.manual_seed(0)
    x, mask = inputs(size=(32, 32))
    y = torch.cat([BandStem(64, kernel=1, described=WIDTH)(x, 0 * mask, BANDS) for _ in range(3)], dim=1)
    assert y.shape == (2, 192, 32, 32) and 0.5 < y.var().item() < 2.0


@pytest.mark.realdata
def test_the_pixel_network_learns_rain_as_the_reference_does(samples: Path) -> None:
    """GMI-DPR pairs, days 1-14 against 15-21, 12 epochs: CRPS .66, on the way from climatology's 1.027 to .596."""
    table = np.load(samples / "precipitation" / "gmi_pairs" / "dpr_rain_rate_open.npz")
    tb, rain, day = np.stack([table[c] for c in COLUMNS], axis=1), table["DPR rain Rate"], table["Day"]
    early = day <= 14
    x = torch.from_numpy((tb - tb[early].mean(axis=0)) / tb[early].std(axis=0)).float()[:, :, None, None]
    y, head = torch.from_numpy(rain).float()[:, None, None], QuantileHead()
    assert (early.sum(), (~early).sum()) == (4240, 2020)
    torch.manual_seed(0)
    one, steps = PixelNetwork(head.channels), 12 * 17
    optimiser = torch.optim.AdamW(one.parameters(), lr=2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    rows = torch.from_numpy(np.flatnonzero(early))
    for _ in range(steps):
        drawn = rows[torch.randint(len(rows), (256,))]
        mask = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1).expand(256, 2, 1, 1)
        loss = head.loss(one(x[drawn], mask, BANDS), y[drawn], torch.ones(256, 1, 1))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    late = torch.from_numpy(~early)
    with torch.no_grad():
        count = int(late.sum())
        raw = one(x[late], torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1).expand(count, 2, 1, 1), BANDS)
    truth = y[late]
    assert (head.mean(raw) - truth).square().mean().sqrt().item() < 1.80
    assert 2 * head.loss(raw, truth, torch.ones_like(truth)).item() < 0.68
    covered = (truth.unsqueeze(1) <= head.quantiles(raw, (0.25, 0.5, 0.95))).float().mean(dim=(0, 2, 3))
    torch.testing.assert_close(covered, torch.tensor([0.25, 0.5, 0.95]), atol=0.05, rtol=0)
