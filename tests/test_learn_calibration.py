"""Calibration: known temperatures and biases are found again, from whole or partial labels, from one network or several."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from vigie.core.errors import VigieError
from vigie.learn.calibration import (
    BOUNDS,
    SHRINKAGE,
    Calibration,
    LogitSample,
    fit_calibration,
    fit_calibrations,
    negative_log_likelihood,
)

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
    found = fit_calibration(logits * temperature, truth(logits, matrix), matrix)
    assert found.temperature == pytest.approx(temperature, rel=0.06)
    assert max(map(abs, found.bias)) < 0.15


def test_a_known_bias_is_found():
    logits, favour = sample(), torch.tensor([1.5, 0.0, -1.0, -0.5])
    found = fit_calibration(2.0 * (logits + favour), truth(logits, WHOLE), WHOLE)
    assert found.temperature == pytest.approx(2.0, rel=0.06)
    assert torch.allclose(torch.tensor(found.bias), -favour, atol=0.15)
    calibrated = found(2.0 * (logits + favour), dim=1).softmax(-1)
    assert torch.allclose(calibrated, logits.softmax(-1), atol=0.06)


def test_of_partial_labels_only_what_they_tell_is_shifted():
    logits = sample()
    found = fit_calibration(logits + torch.tensor([2.0, 2, 0, 0]), truth(logits, PARTIAL), PARTIAL)
    one, two, three, four = found.bias
    assert one - three == pytest.approx(-2.0, abs=0.25)
    assert one == pytest.approx(two, abs=0.1) and three == pytest.approx(four, abs=0.1)


@pytest.mark.parametrize("favour", [0.0, 2.0])
def test_a_class_that_no_label_stands_for_keeps_its_odds_against_the_mean_of_the_others(favour):
    logits = sample(4000)
    rows = truth(logits[:, :3], torch.eye(3))
    network = logits + torch.tensor([favour, 0.0, 0.0, 0.0])
    three, four = fit_calibration(network[:, :3], rows, torch.eye(3)), fit_calibration(network, rows, torch.eye(4)[:3])
    assert three.bias == pytest.approx([-2 / 3 * favour, favour / 3, favour / 3], abs=0.2)
    # The fourth class takes likelihood away at random here: a higher temperature makes it harmless, and biases smaller.
    assert four.bias[:3] == pytest.approx(three.bias, abs=0.4)
    assert four.bias[3] == 0 and abs(sum(four.bias)) < 1e-9


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.2, 4.0))
def test_it_is_the_minimum_that_another_method_finds(seed, temperature):
    logits = sample(300, seed=seed)
    rows = truth(logits, PARTIAL, seed)
    allowed = PARTIAL[rows] > 0

    def at(x):
        bias = torch.tensor(x[1:])
        value = negative_log_likelihood(logits.double() * temperature / 10 ** x[0] + bias, allowed)
        return float(value) + SHRINKAGE * float((bias**2).sum())

    found = fit_calibration(logits * temperature, rows, PARTIAL)
    here = [torch.tensor(found.temperature).log10().item(), *found.bias]
    oracle = minimize(at, here, method="Nelder-Mead", options={"maxiter": 400})
    if 1.05 * BOUNDS[0] < found.temperature < 0.95 * BOUNDS[1]:
        assert at(here) <= oracle.fun + 1e-5


def test_the_likelihood_is_that_of_the_definition():
    logits, rows = sample(50).double(), truth(sample(50), PARTIAL)
    expected = -(logits.softmax(-1) * PARTIAL[rows]).sum(-1).log().mean()
    torch.testing.assert_close(negative_log_likelihood(logits, PARTIAL[rows] > 0), expected)
    members = torch.stack([logits, sample(50, seed=1).double()])
    expected = -(members.softmax(-1).mean(0) * PARTIAL[rows]).sum(-1).log().mean()
    torch.testing.assert_close(negative_log_likelihood(members, PARTIAL[rows] > 0), expected)


def test_an_ensemble_of_twins_is_calibrated_like_one():
    logits = sample()
    rows = truth(logits, WHOLE)
    one, three = fit_calibration(3 * logits, rows, WHOLE), fit_calibration(torch.stack([3 * logits] * 3), rows, WHOLE)
    assert three.temperature == pytest.approx(one.temperature, rel=1e-3)
    assert three.bias == pytest.approx(one.bias, abs=1e-3)


@pytest.mark.parametrize("record", [{"temperature": 0, "bias": []}, {"temperature": 1, "bias": [1.0]}])
def test_a_calibration_that_fits_no_model_is_refused(record):
    with pytest.raises(ValueError, match="no calibration of 3 classes"):
        Calibration.from_dict(record, 3)


def test_unknown_pixels_do_not_count_and_none_is_an_error():
    logits = sample()
    rows = truth(logits, WHOLE)
    expected = fit_calibration(logits[:500], rows[:500], WHOLE)
    rows[500:] = -1
    assert fit_calibration(logits, rows, WHOLE) == expected
    with pytest.raises(VigieError, match="no labelled pixel to calibrate on"):
        fit_calibration(logits, torch.full_like(rows, -1), WHOLE)


def test_temperatures_stay_within_bounds():
    right, wrong = torch.tensor([[5.0, 0.0]]), torch.tensor([[0.0, 5.0]])
    for logits in (right, wrong):
        found = fit_calibration(logits, torch.tensor([0]), torch.eye(2))
        assert BOUNDS[0] <= found.temperature <= BOUNDS[1] and max(map(abs, found.bias)) <= 10


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
    found = fit_calibrations([taken])
    found = {sensor: calibration.temperature for sensor, calibration in found.items()}
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


def fold(biased=0.0, **sensors):
    """A fold's sample, with a temperature for each sensor and the first class favoured by its network."""
    taken = LogitSample()
    for sensor, (temperature, seed) in sensors.items():
        for image, rows, matrix in windows(temperature, seed):
            taken.add(sensor, image + biased * torch.tensor([1.0, 0, 0, 0]).view(1, 1, 4, 1, 1), rows, matrix)
    return taken


def test_folds_are_fitted_together():
    both = LogitSample()
    for seed in (1, 2):
        for window in windows(3.0, seed):
            both.add("s2", *window)
    joined = fit_calibrations([fold(s2=(3.0, 1)), fold(s2=(3.0, 2), film=(1.0, 5))])
    assert joined["s2"].temperature == pytest.approx(fit_calibrations([both])["s2"].temperature, rel=1e-6)
    alone = fit_calibrations([fold(film=(1.0, 5))])["film"]
    assert joined["film"].temperature == pytest.approx(alone.temperature, rel=1e-6)


def test_biases_need_three_folds_that_hold_the_sensor():
    folds = [fold(2.0, s2=(1.0, 1), film=(1.0, 4)), fold(2.0, s2=(1.0, 2)), fold(2.0, s2=(1.0, 3))]
    found = fit_calibrations(folds)
    assert found["s2"].bias[0] < -1 and found["*"].bias[0] < -1
    assert max(map(abs, found["film"].bias)) < 1e-3
    assert max(map(abs, fit_calibrations(folds[:2])["*"].bias)) < 1e-3
    # A fold with a handful of pixels of the sensor is no third one.
    few = LogitSample(limit=20)
    few.add("s2", *next(windows(1.0, 3)))
    assert max(map(abs, fit_calibrations([*folds[:2], few])["s2"].bias)) < 1e-3


def test_too_few_pixels_or_one_class_calibrate_nothing():
    sound, one = fold(s2=(2.0, 1)), LogitSample()
    for image, rows, matrix in windows(2.0, 2):
        one.add("film", image, torch.where(rows >= 0, 0, rows), matrix)
    few = LogitSample(limit=5)
    few.add("l8", *next(windows(1.0, 3)))
    assert fit_calibrations([one, few]) == {}
    assert fit_calibrations([one, few, sound]) == fit_calibrations([sound])
    assert sorted(fit_calibrations([sound])) == ["*", "s2"]


def test_labels_that_share_a_class_do_not_tell_it_apart():
    """'Ice' and 'ice or land' may both be ice everywhere."""
    nested = torch.tensor([[1.0, 0, 0, 0], [1, 1, 0, 0]])
    taken = LogitSample()
    for image, rows, _ in windows(1.0, 2):
        taken.add("s2", image, torch.where(rows >= 0, rows % 2, rows), nested)
    assert fit_calibrations([taken]) == {}


def test_every_sensor_weighs_the_same_however_many_pixels_it_has():
    few, many = LogitSample(limit=1000), LogitSample()
    for window in windows(4.0, 1):
        few.add("film", *window)
    for seed in (2, 3, 4):
        for window in windows(0.5, seed):
            many.add("s2", *window)
    once, thrice = LogitSample(kept=few.kept | {"s2": many.kept["s2"]}), LogitSample()
    keys, logits, allowed = many.kept["s2"]
    thrice.kept = few.kept | {"s2": (keys.repeat(3), logits.repeat(1, 3, 1), allowed.repeat(3, 1))}
    assert fit_calibrations([thrice])["*"].temperature == pytest.approx(fit_calibrations([once])["*"].temperature, rel=1e-4)
