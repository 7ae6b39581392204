"""Calibration: known temperatures and biases are found again, from whole or partial labels, from one network or several."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from vigie.core.errors import VigieError
from vigie.learn.calibration import BOUNDS, SHRINKAGE, Calibration, LogitSample, fit_calibration, negative_log_likelihood

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


def test_a_class_that_no_label_stands_for_is_not_shifted_against_the_mean_of_others():
    logits = sample(4000)
    rows = truth(logits[:, :3], torch.eye(3))
    three = fit_calibration(logits[:, :3], rows, torch.eye(3))
    four = fit_calibration(torch.cat([logits[:, :3], torch.full((4000, 1), -20.0)], 1), rows, torch.eye(4)[:3])
    assert four.temperature == pytest.approx(three.temperature, rel=0.02)
    assert abs(four.bias[3] - sum(four.bias[:3]) / 3) < 0.2


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
    with pytest.raises(VigieError, match="no labelled pixel"):
        LogitSample().calibrations()


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
    found = taken.calibrations()
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


def test_samples_of_folds_add():
    one, two, both = LogitSample(), LogitSample(), LogitSample()
    for seed, part in ((1, one), (2, two)):
        for window in windows(3.0, seed):
            part.add("s2", *window)
            both.add("s2", *window)
    for window in windows(1.0, 5, members=1):
        two.add("film", *window)
    joined = one + two
    assert joined.pixels("s2") == both.pixels("s2") and joined.calibrations()["film"] == two.calibrations()["film"]
    assert joined.calibrations()["s2"].temperature == pytest.approx(both.calibrations()["s2"].temperature, rel=1e-4)
    assert one.pixels("s2") == 6 * 18 * 30 and "film" not in one.kept
