"""Descriptors of microwave channels: finite, distinct, of fixed width, and honest about what is unknown."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import xarray as xr

from vigie.core.errors import VigieError
from vigie.core.swath import Channel, channel_coordinates
from vigie.learn.channels import ANCILLARY, PERIODS, POLARISATIONS, WIDTH, describe, with_missing

GMI = [
    *(Channel(f, p, k, 52.9) for f, k in ((10.65, 24.0), (18.7, 14.0), (36.64, 11.0), (89.0, 6.0), (166.0, 6.0)) for p in "VH"),
    Channel(23.8, "V", 13.0, 52.9),
    Channel(183.31, "V", 6.0, 49.2, 3.0),
    Channel(183.31, "V", 6.0, 49.2, 7.0),
]


def swath(rows):
    return xr.Dataset(coords=channel_coordinates(rows))


def test_channels_and_fields_are_told_apart() -> None:
    described = describe(swath(GMI), ANCILLARY)
    assert described.shape == (len(GMI) + len(ANCILLARY), WIDTH) and described.dtype == torch.float32
    assert torch.isfinite(described).all() and described.abs().max() < 3
    for a, b in itertools.combinations(described, 2):
        assert (a - b).abs().max() > 0.3


def test_columns_are_what_they_say() -> None:
    row = describe(swath([Channel(36.5, "H", 20.0, 60.0, 1.0)]))[0].double()
    turns = 2 * math.pi * math.log(36.5) / torch.tensor(PERIODS, dtype=torch.float64)
    n = len(PERIODS)
    torch.testing.assert_close(row[: 2 * n], torch.cat([turns.sin(), turns.cos()]), atol=1e-6, rtol=0)
    numbers = torch.tensor([1, 0.5 * math.log(2), 1, math.log(2), 1, 1, 1], dtype=torch.float64)
    torch.testing.assert_close(row[2 * n : 2 * n + 7], numbers, atol=1e-6, rtol=0)
    assert row[2 * n + 7 :].nonzero().flatten().tolist() == [POLARISATIONS.index("H")]


def test_what_is_unknown_is_zero_with_indicator_zero() -> None:
    nan = float("nan")
    row = describe(swath([Channel(nan, "", nan, nan, nan)]))[0]
    assert row.nonzero().flatten().tolist() == [2 * len(PERIODS) + 7 + POLARISATIONS.index("")]


def test_similar_channels_of_two_sensors_are_near_and_their_fields_the_same() -> None:
    amsr2, gmi, far = describe(
        swath([Channel(36.5, "V", 11.0, 55.0), Channel(36.64, "V", 11.0, 52.9), Channel(89.0, "V", 6.0, 52.9)])
    )
    assert (amsr2 - gmi).norm() < 0.2 * (far - gmi).norm()
    alone = describe(swath([]), ["land_fraction"])
    torch.testing.assert_close(describe(swath(GMI), ["land_fraction"])[-1:], alone)


@pytest.mark.parametrize(
    ("rows", "ancillary", "message"),
    [
        (GMI, ["skin_temperatur"], "did you mean 'skin_temperature'"),
        ([Channel(89.0, "QV")], [], "unknown polarisations"),
        ([Channel(0.0, "V")], [], "frequency_ghz"),
        ([Channel(89.0, "V", -5.0)], [], "footprint_km"),
    ],
)
def test_strange_channels_are_refused(rows, ancillary, message):
    with pytest.raises(VigieError, match=message):
        describe(swath(rows), ancillary)


def test_missing_layers_are_described_as_their_channels() -> None:
    described = describe(swath(GMI))
    x = torch.randn(2, len(GMI), 3, 4, generator=torch.Generator().manual_seed(0))
    x[0, 3], x[1, 5, 2] = math.nan, math.nan
    whole, doubled = with_missing(x, described)
    assert torch.isfinite(whole).all() and whole.shape == (2, 2 * len(GMI), 3, 4)
    torch.testing.assert_close(whole[:, : len(GMI)], x.nan_to_num(0.0))
    torch.testing.assert_close(whole[:, len(GMI) :], x.isnan().float())
    torch.testing.assert_close(doubled[: len(GMI)], described)
    torch.testing.assert_close(doubled[len(GMI) :, :-1], described[:, :-1])
    assert (doubled[len(GMI) :, -1] == 1).all() and not described[:, -1].any()
    assert doubled.shape[1] == WIDTH
