"""Calibration: known temperatures are found again, from whole or partial labels, from one network or several."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from vigie.core.errors import VigieError
from vigie.learn.calibration import BOUNDS, LogitSample, fit_temperature, negative_log_likelihood

WHOLE, PARTIAL = torch.eye(4), torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]])


def truth(logits, matrix, seed=0):
    """Draw labels from softmax(logits)."""
    generator = torch.Generator().manual_seed(seed)
    leaves = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
    return matrix.argmax(0)[leaves]


def sample(count=20_000, classes=4, seed=0):
    return 2.0 * torch.randn(count, classes, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("matrix", [WHOLE, PARTIAL], ids=["whole", "partial"])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5, 7.0])
def test_a_known_temperature_is_found(matrix, temperature):
    logits = sample()
    assert fit_temperature(logits * temperature, truth(logits, matrix), matrix) == pytest.approx(temperature, rel=0.05)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 5.0))
def test_it_is_the_minimum_that_scipy_finds(seed, temperature):
    logits = sample(300, seed=seed)
    rows = truth(logits, PARTIAL, seed)
    found = fit_temperature(logits * temperature, rows, PARTIAL)
    allowed = PARTIAL[rows] > 0

    def at(x):
        return negative_log_likelihood(logits * temperature, allowed, 10**x)

    oracle = minimize_scalar(at, bounds=(-1.3, 1.3), method="bounded", options={"xatol": 1e-6})
    if 1.05 * BOUNDS[0] < found < 0.95 * BOUNDS[1]:
        assert at(torch.tensor(found).log10().item()) <= oracle.fun + 1e-6


def test_the_likelihood_is_that_of_the_definition():
    logits, rows = sample(50), truth(sample(50), PARTIAL)
    expected = -((logits.double() / 1.7).softmax(-1) * PARTIAL[rows]).sum(-1).log().mean()
    assert negative_log_likelihood(logits, PARTIAL[rows] > 0, 1.7) == pytest.approx(float(expected), rel=1e-12)
    members = torch.stack([logits, sample(50, seed=1)])
    expected = -((members.double() / 1.7).softmax(-1).mean(0) * PARTIAL[rows]).sum(-1).log().mean()
    assert negative_log_likelihood(members, PARTIAL[rows] > 0, 1.7) == pytest.approx(float(expected), rel=1e-12)


def test_an_ensemble_of_twins_has_the_temperature_of_one():
    logits = sample()
    rows = truth(logits, WHOLE)
    assert fit_temperature(torch.stack([3 * logits] * 3), rows, WHOLE) == pytest.approx(
        fit_temperature(3 * logits, rows, WHOLE)
    )


def test_unknown_pixels_do_not_count_and_none_is_an_error():
    logits = sample()
    rows = truth(logits, WHOLE)
    expected = fit_temperature(logits[:500], rows[:500], WHOLE)
    rows[500:] = -1
    assert fit_temperature(logits, rows, WHOLE) == expected
    with pytest.raises(VigieError, match="no labelled pixel to calibrate on"):
        fit_temperature(logits, torch.full_like(rows, -1), WHOLE)
    with pytest.raises(VigieError, match="no labelled pixel"):
        LogitSample().temperatures()


def test_temperatures_stay_within_bounds():
    right, wrong = torch.tensor([[5.0, 0.0]]), torch.tensor([[0.0, 5.0]])
    assert fit_temperature(right, torch.tensor([0]), torch.eye(2)) == pytest.approx(BOUNDS[0], rel=0.3)
    assert fit_temperature(wrong, torch.tensor([0]), torch.eye(2)) == pytest.approx(BOUNDS[1], rel=0.3)


def windows(temperature, seed, members=2, count=6):
    for n in range(count):
        flat = sample(20 * 30, seed=100 * seed + n)
        rows = truth(flat, WHOLE, seed=n).reshape(1, 20, 30).clone()
        rows[:, :2] = -1
        image = (temperature * flat).T.reshape(1, 1, 4, 20, 30).expand(members, -1, -1, -1, -1)
        yield image, rows, WHOLE


def test_each_sensor_has_its_temperature():
    taken = LogitSample()
    for sensor, temperature in {"film": 4.0, "s2": 0.5}.items():
        for window in windows(temperature, seed=1):
            taken.add(sensor, *window)
    found = taken.temperatures()
    assert found["film"] == pytest.approx(4.0, rel=0.1) and found["s2"] == pytest.approx(0.5, rel=0.1)
    assert found["s2"] < found["*"] < found["film"] and taken.pixels("film") == 6 * 18 * 30


def test_the_sample_is_bounded_fair_and_repeatable():
    def taken(limit):
        found = LogitSample(limit=limit, seed=3)
        for n, (logits, rows, matrix) in enumerate(windows(1.0, seed=2)):
            found.add("s2", torch.full_like(logits, float(n)), rows, matrix)
        return found

    one, two = taken(1000), taken(1000)
    assert one.pixels("s2") == 1000 and torch.equal(one.kept["s2"][1], two.kept["s2"][1])
    shares = torch.bincount(one.kept["s2"][1][0, :, 0].long(), minlength=6) / 1000
    assert (shares - 1 / 6).abs().max() < 0.05
    assert taken(10**6).pixels("s2") == 6 * 18 * 30


def test_samples_of_folds_add():
    one, two, both = LogitSample(), LogitSample(), LogitSample()
    for seed, part in ((1, one), (2, two)):
        for window in windows(3.0, seed):
            part.add("s2", *window)
            both.add("s2", *window)
    for window in windows(1.0, 5, members=1):
        two.add("film", *window)
    joined = one + two
    assert joined.pixels("s2") == both.pixels("s2") and joined.temperatures()["film"] == two.temperatures()["film"]
    assert joined.temperatures()["s2"] == pytest.approx(both.temperatures()["s2"], rel=1e-6)
    assert one.pixels("s2") == 6 * 18 * 30 and "film" not in one.kept
