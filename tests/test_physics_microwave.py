"""The microwave forward model: radiative transfer in closed form, what must rise and fall, finite differences, and GMI."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from vigie.core.errors import VigieError
from vigie.core.swath import Channel
from vigie.physics.microwave import State, brightness_temperature, column, ice_water_path
from vigie.physics.twostream import layer, upwelling
from vigie.synthetic.orbit import GMI

COLUMNS = ("10v", "10h", "18v", "18h", "23v", "36v", "36h", "89v", "89h", "166v", "166h", "183-3", "183-7")
"""GMI's channels in the tables of footprints, in the order of `GMI`."""


def sea(**changed: float | Tensor) -> State:
    """A rainless tropical sea, with what a test changes; ice follows rain."""
    given = {
        "rain_rate": 0.0,
        "water_vapour": 45.0,
        "cloud_liquid": 0.1,
        "skin_temperature": 300.0,
        "wind_speed": 7.0,
    } | changed
    maps = {name: torch.as_tensor(value, dtype=torch.float64) for name, value in ({"land_fraction": 0.0} | given).items()}
    return State(**({"ice_water_path": ice_water_path(maps["rain_rate"])} | maps))


def seen(state: State) -> dict[str, NDArray[np.float64]]:
    return dict(zip((c.name for c in GMI), brightness_temperature(state, GMI).unbind(-1), strict=True))


def test_layers_add_up_and_without_scattering_the_solution_is_that_of_schwarzschild() -> None:
    absorbed, kelvin = (
        torch.tensor([0.4, 0.7, 0.1], dtype=torch.float64),
        torch.tensor([290.0, 270.0, 240.0], dtype=torch.float64),
    )
    ground, skin = torch.tensor(0.6, dtype=torch.float64), torch.tensor(300.0, dtype=torch.float64)
    ours = upwelling(ground, skin, absorbed, 0 * absorbed, kelvin)
    up, down = 0.0, 2.725
    for a, t in zip(absorbed.flip(0).tolist(), kelvin.flip(0).tolist(), strict=True):
        down = down * np.exp(-a) + t * (1 - np.exp(-a))
    up = 0.6 * 300.0 + 0.4 * down
    for a, t in zip(absorbed.tolist(), kelvin.tolist(), strict=True):
        up = up * np.exp(-a) + t * (1 - np.exp(-a))
    assert float(ours) == pytest.approx(up, abs=1e-3)


@given(st.floats(1e-3, 5.0), st.floats(0.0, 5.0))
def test_two_half_layers_are_one_layer_and_nothing_is_gained(absorbed: float, scattered: float) -> None:
    a, b = torch.tensor(absorbed, dtype=torch.float64), torch.tensor(scattered, dtype=torch.float64)
    (r, t), (half_r, half_t) = layer(a, b), layer(a / 2, b / 2)
    between = 1 / (1 - half_r**2)
    assert float(half_r + half_t**2 * half_r * between) == pytest.approx(float(r), abs=1e-4)
    assert float(half_t**2 * between) == pytest.approx(float(t), abs=1e-4)
    assert 0 <= float(r + t) <= 1


def test_what_the_layers_hold_is_what_the_column_holds() -> None:
    air = column(sea(rain_rate=torch.tensor([0.0, 5.0])))
    assert float((air.vapour * air.thickness_km).sum()) == pytest.approx(45.0)
    assert float(air.cloud.sum()) == pytest.approx(0.1)
    assert air.ice.sum(-1).tolist() == pytest.approx([0.0, float(ice_water_path(torch.tensor(5.0, dtype=torch.float64)))])
    assert (air.temperature_k.diff() <= 0).all()


def test_rain_over_the_sea_warms_low_channels_and_cools_high_ones() -> None:
    rain = torch.linspace(0.0, 5.0, 26, dtype=torch.float64)
    kelvin = seen(sea(rain_rate=rain))
    for name in ("10.65V", "10.65H", "18.70V", "18.70H", "36.64H"):
        assert (kelvin[name].diff() > 0).all(), name
    heavy = seen(sea(rain_rate=30.0))
    for name in ("89.00V", "89.00H", "166.00V", "166.00H", "183.31+-3V", "183.31+-7V"):
        assert heavy[name] < kelvin[name][0] - 10, name
    many = seen(sea(rain_rate=torch.linspace(1.0, 60.0, 60, dtype=torch.float64)))
    for name in ("166.00V", "183.31+-7V"):
        assert (many[name].diff() < 0).all(), name


def test_ice_cools_and_more_so_at_higher_frequencies() -> None:
    ice = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    kelvin = seen(sea(rain_rate=2.0, ice_water_path=ice))
    cooling = [float(kelvin[name][0] - kelvin[name][2]) for name in ("18.70V", "36.64V", "89.00V", "166.00V")]
    assert cooling == sorted(cooling)
    assert cooling[-1] > 20
    assert all((kelvin[name].diff() < 0).all() for name in ("89.00V", "89.00H", "166.00V", "166.00H", "183.31+-3V"))


def test_the_sea_is_polarised_and_rain_hides_it() -> None:
    kelvin = seen(sea(rain_rate=torch.tensor([0.0, 1.0, 3.0, 10.0])))
    for one in ("10.65", "18.70", "36.64", "89.00"):
        difference = kelvin[one + "V"] - kelvin[one + "H"]
        assert (difference > 0).all(), one
        assert (difference[:-1].diff() < 0).all(), one
        assert difference[-1] < 0.5 * difference[0], one
    assert (kelvin["36.64V"] - kelvin["36.64H"])[0] > 30


def test_wind_warms_h_more_than_v_and_vapour_warms_a_cold_sea() -> None:
    rough = {name: float(one[1] - one[0]) for name, one in seen(sea(wind_speed=torch.tensor([5.0, 10.0]))).items()}
    assert 0 < rough["10.65V"] < rough["10.65H"] < 10
    moist = seen(sea(water_vapour=torch.linspace(5.0, 60.0, 12, dtype=torch.float64), skin_temperature=290.0))
    assert all((moist[name].diff() > 0).all() for name in ("18.70H", "23.80V", "36.64H", "89.00H"))
    assert moist["183.31+-3V"][-1] < moist["183.31+-3V"][0]  # from higher, colder air


def test_land_is_warm_and_hardly_polarised() -> None:
    kelvin = seen(sea(land_fraction=1.0))
    assert kelvin["10.65V"] > 270
    assert float(kelvin["10.65V"]) == pytest.approx(float(kelvin["10.65H"]), abs=1e-6)


LIMITS = {
    "rain_rate": (0.0, 100.0),
    "water_vapour": (0.5, 75.0),
    "cloud_liquid": (0.0, 2.0),
    "ice_water_path": (0.0, 10.0),
    "skin_temperature": (235.0, 325.0),
    "wind_speed": (0.0, 35.0),
    "land_fraction": (0.0, 1.0),
}


def test_brightness_is_what_can_be_and_gradients_are_finite() -> None:
    """At all corners of what occurs on Earth and at a thousand places between, in single precision."""
    corners = np.array(list(product(*LIMITS.values())))
    low, high = corners[0], corners[-1]
    between = low + (high - low) * np.random.default_rng(1).random((1000, len(LIMITS)))
    places = torch.as_tensor(np.concatenate([corners, between]), dtype=torch.float32).requires_grad_()
    kelvin = brightness_temperature(State(**dict(zip(LIMITS, places.unbind(-1), strict=True))), GMI)
    assert kelvin.min() > 50
    assert (kelvin.amax(-1) <= places[:, 4] + 1e-2).all()
    assert torch.isfinite(torch.autograd.grad(kelvin.sum(), places)[0]).all()


@pytest.mark.parametrize("rain", [0.0, 0.7, 12.0])
def test_gradients_are_those_of_finite_differences(rain: float) -> None:
    state = sea(rain_rate=rain + 0.003, land_fraction=0.3, ice_water_path=0.4)
    start = torch.stack([getattr(state, one.name) for one in fields(State)]).detach().requires_grad_()
    some = GMI[1], GMI[5], GMI[8], GMI[9], GMI[12]
    assert torch.autograd.gradcheck(
        lambda x: brightness_temperature(State(*x.unbind()), some), start, eps=1e-5, atol=1e-3, rtol=1e-3
    )


def test_what_cannot_be_simulated_is_refused() -> None:
    with pytest.raises(VigieError, match="oxygen band"):
        brightness_temperature(sea(), [Channel(60.0, "V", 10.0, 53.0)])
    with pytest.raises(VigieError, match=r"23.80V cannot be simulated.*incidence nan"):
        brightness_temperature(sea(), [Channel(23.8, "V", 10.0)])
    with pytest.raises(VigieError, match="polarisation ''"):
        brightness_temperature(sea(), [Channel(23.8, "", 10.0, 0.0)])


@pytest.mark.realdata
def test_rainless_seas_look_as_gmi_sees_them(samples: Path) -> None:
    """800 footprints: means within 4 K in all channels, and well correlated where the surface and vapour decide."""
    table, measured = over_sea(samples / "precipitation/gmi_pairs/dpr_phase_open.npz")
    dry = table["Prcp flag"] == 0
    simulated = simulate(table, np.zeros(len(dry)))[dry]
    assert dry.sum() > 700
    np.testing.assert_allclose(simulated.mean(0), measured[dry].mean(0), atol=4.0)
    correlation = [np.corrcoef(simulated[:, i], measured[dry][:, i])[0, 1] for i in range(len(COLUMNS))]
    assert min(correlation[:11]) > 0.75
    assert min(correlation) > 0.6


@pytest.mark.realdata
def test_rain_changes_every_channel_in_the_direction_that_gmi_sees(samples: Path) -> None:
    """Also in size: class means up to 4 mm/h lie within 16 K (worst: drizzle at 166 GHz, where GMI sees more ice)."""
    table, measured = over_sea(samples / "precipitation/gmi_pairs/dpr_rain_rate_open.npz")
    rain = table["DPR rain Rate"]
    simulated = simulate(table, rain)
    for i, name in enumerate(COLUMNS):
        real, ours = (np.corrcoef(one[:, i], rain)[0, 1] for one in (measured, simulated))
        assert np.sign(real) == np.sign(ours), name
        assert abs(real) > 0.1, name
    for low, high in ((0.05, 0.3), (0.3, 1.0), (1.0, 2.0), (2.0, 4.0)):
        here = (rain > low) & (rain <= high)
        np.testing.assert_allclose(simulated[here].mean(0), measured[here].mean(0), atol=16.0)


def over_sea(path: Path) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float32]]:
    """Rows of days 15-21 over open sea, with ancillary fields, without interference, and their temperatures (row, channel)."""
    stored = np.load(path)
    kelvin = np.stack([stored[name] for name in COLUMNS], axis=1)
    kept = (stored["tcwv"] > 0) & (kelvin > 50).all(1) & (kelvin[:, 0] < 300) & (stored["lsm"] < 0.01) & (stored["siconc"] <= 0)
    kept &= stored["Day"] > 14
    return {name: stored[name][kept] for name in stored.files}, kelvin[kept]


def simulate(table: dict[str, NDArray[np.float32]], rain: NDArray[np.floating]) -> NDArray[np.float32]:
    wind = np.hypot(table["u10"], table["v10"])
    fields = (rain, table["tcwv"] / 1000, table["tclw"] / 1000, 0 * rain, table["skt"], wind, table["lsm"])
    state = State(*(torch.as_tensor(np.asarray(one, dtype=np.float32)) for one in fields))
    return brightness_temperature(replace(state, ice_water_path=ice_water_path(state.rain_rate)), GMI).numpy()
