"""Gradients of the sea-ice model: Taylor remainders, the adjoint identity, checkpoints, and ice that does not move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from vigie.physics.seaice.forcing import Forcing
from vigie.physics.seaice.grid import CGrid
from vigie.physics.seaice.model import SeaIceModel
from vigie.physics.seaice.settings import Bbm, Mevp, SeaIceSettings
from vigie.physics.seaice.state import IceState, at_rest

CASES = [
    (Mevp(cycles=15), 3, 3600.0),
    (Mevp(cycles=15, relaxation=300.0), 3, 3600.0),
    (Bbm(cycles=63), 1, 900.0),
]
"""Rheologies, how many steps are linearised, and their length: small changes of brittle ice grow quickly."""

NAMES = ["adaptive", "fixed", "brittle"]

NO_SCRIPT = pytest.mark.filterwarnings("ignore:.torch.jit.script.:FutureWarning")
"""Forward mode loads parts of torch that torch itself calls old."""


def setting(rheology: Mevp | Bbm, steps: int, dt_s: float) -> tuple[IceState, Callable[[IceState], IceState]]:
    """A small sea with land, ice of two members, and some hours of weather that every part of the model feels."""
    draw = torch.Generator().manual_seed(3)
    ocean = torch.ones(7, 8, dtype=torch.bool)
    ocean[2:4, 3] = False
    grid = CGrid(ocean, 25e3, torch.tensor(1.4e-4, dtype=torch.float64))

    def smooth(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(2, 7, 8, generator=draw, dtype=torch.float64)

    ice = smooth(0.7, 0.97)
    state = replace(at_rest(grid, ice, ice * smooth(0.8, 2.0), ice * smooth(0.05, 0.2)), damage=smooth(0.5, 0.9))
    weather = Forcing(
        smooth(4, 9),
        smooth(-6, 2),
        air_c=smooth(-22, -15),
        humidity=torch.tensor(6e-4),
        shortwave_w_m2=smooth(20, 60),
        longwave_w_m2=smooth(170, 200),
        snowfall_kg_m2_s=torch.tensor(2e-6),
        current_u_m_s=smooth(-0.05, 0.05),
        sea_level_m=smooth(-0.01, 0.01),
        ocean_heat_w_m2=torch.tensor(3.0),
    )
    model = SeaIceModel(grid, SeaIceSettings(rheology=rheology))

    def forecast(start: IceState) -> IceState:
        *_, last = model.run(start, [weather] * steps, dt_s, checkpoint_every=2)
        return last

    return forecast(state).detach(), forecast


def perturbation(state: IceState, seed: int) -> IceState:
    """Random directions of the size that each field has, where there is ice to change."""
    draw = torch.Generator().manual_seed(seed)

    def random(field: Tensor) -> Tensor:
        sea = (field != 0) if field.shape[-2:] != state.concentration.shape else (state.concentration > 0)
        return torch.randn(field.shape, generator=draw, dtype=field.dtype) * field.abs().mean() * sea

    return state.map(random)


def inner(one: IceState, other: IceState) -> Tensor:
    return torch.stack([(a * b).sum() for a, b in zip(one.tensors(), other.tensors(), strict=True)]).sum()


def scale(state: IceState, by: float) -> IceState:
    return state.map(lambda field: by * field)


def add(one: IceState, other: IceState) -> IceState:
    return IceState(*(a + b for a, b in zip(one.tensors(), other.tensors(), strict=True)))


@pytest.mark.parametrize(("rheology", "steps", "dt_s"), CASES, ids=NAMES)
def test_what_the_gradient_misses_falls_with_the_square_of_the_step(rheology: Mevp | Bbm, steps: int, dt_s: float) -> None:
    state, forecast = setting(rheology, steps, dt_s)
    weight = perturbation(forecast(state), 1)
    weight = weight.map(lambda field: field / field.square().mean().clamp(min=1e-12))
    start = state.map(lambda field: field.clone().requires_grad_())
    cost = inner(weight, forecast(start))
    gradient = IceState(*torch.autograd.grad(cost, start.tensors(), materialize_grads=True))
    along = perturbation(state, 2)
    slope = inner(gradient, along)
    sizes = np.array([4e-7, 2e-7, 1e-7])
    with torch.no_grad():
        missed = [abs(float(inner(weight, forecast(add(state, scale(along, e)))) - cost - e * slope)) for e in sizes]
    order = np.diff(np.log(missed)) / np.diff(np.log(sizes))
    assert abs(float(slope)) > 1.0
    assert order == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(("rheology", "steps", "dt_s"), CASES, ids=NAMES)
@NO_SCRIPT
def test_the_adjoint_is_the_transpose_of_the_tangent(rheology: Mevp | Bbm, steps: int, dt_s: float) -> None:
    state, forecast = setting(rheology, steps, dt_s)
    dx = perturbation(state, 4)
    _, moved = torch.func.jvp(lambda *x: forecast(IceState(*x)).tensors(), state.tensors(), dx.tensors())
    mdx = IceState(*moved)
    dy = perturbation(mdx, 5)
    dy = dy.map(lambda field: field / field.square().mean().clamp(min=1e-20))
    start = state.map(lambda field: field.clone().requires_grad_())
    pulled = torch.autograd.grad(inner(forecast(start), dy), start.tensors(), materialize_grads=True)
    left, right = inner(mdx, dy), inner(dx, IceState(*pulled))
    sizes = torch.stack([(a * b).abs().sum() for a, b in zip(mdx.tensors(), dy.tensors(), strict=True)]).sum()
    assert float(abs(left - right) / sizes) < 1e-12
    assert float(abs(left) / sizes) > 1e-6


def test_recomputing_between_checkpoints_changes_no_gradient() -> None:
    gradients = []
    for every in (0, 4):
        state, forecast = setting(Mevp(cycles=10, checkpoint_every=every), 2, 3600.0)
        start = state.map(lambda field: field.clone().requires_grad_())
        gradients.append(torch.autograd.grad(forecast(start).thickness_m.square().sum(), start.tensors()[:4]))
    for kept, again in zip(*gradients, strict=True):
        torch.testing.assert_close(again, kept, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("rheology", [Mevp(cycles=5), Bbm(cycles=250)], ids=["plastic", "brittle"])
def test_gradients_are_finite_where_nothing_moves_and_where_there_is_no_ice(rheology: Mevp | Bbm) -> None:
    ocean = torch.ones(5, 6, dtype=torch.bool)
    ocean[1, 1] = False
    ice = torch.zeros(5, 6)
    ice[:, 3:] = 1.0
    start = at_rest(CGrid(ocean, 25e3), ice, ice.clone()).map(lambda field: field.clone().requires_grad_())
    wind = torch.zeros(5, 6, requires_grad=True)
    model = SeaIceModel(CGrid(ocean, 25e3), SeaIceSettings(rheology=rheology))
    later = model.step(start, Forcing(wind, wind), 3600.0)
    sums = torch.stack([field.sum() for field in later.tensors()]).sum()
    gradients = torch.autograd.grad(sums, (*start.tensors(), wind), materialize_grads=True)
    assert all(bool(torch.isfinite(one).all()) for one in gradients)
    assert float(gradients[1].abs().max()) > 0
