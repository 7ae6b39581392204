"""The hidden Markov model against enumeration of every path, closed forms, and properties that hold for any chain."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vigie.apps.glaciers.history.hmm import forward_backward, generator, likelihood, transitions, viterbi
from vigie.core.errors import VigieError


def chain_and_seen(seed: int, dates: int, classes: int, pixels: int):
    rng = np.random.default_rng(seed)
    moves = rng.random((classes, classes)) * (1 - np.eye(classes))
    rates = generator(rng.uniform(1, 50, classes), moves / moves.sum(axis=1, keepdims=True))
    chance = transitions(rates, rng.uniform(0.05, 8, dates - 1))
    return rng.uniform(0.01, 3, (dates, classes, pixels)), chance, rng.dirichlet(np.ones(classes)), rates


def enumerate_paths(seen, chance, initial):
    """Marginals, evidence and best path of one pixel by summing over all K^T paths."""
    dates, classes = seen.shape
    marginal, total, best = np.zeros((dates, classes)), 0.0, (-1.0, ())
    for path in product(range(classes), repeat=dates):
        weight = initial[path[0]] * seen[0, path[0]]
        for t in range(1, dates):
            weight *= chance[t - 1, path[t - 1], path[t]] * seen[t, path[t]]
        total += weight
        marginal[np.arange(dates), path] += weight
        best = max(best, (weight, path))
    return marginal / total, np.log(total), best[1]


@given(seed=st.integers(0, 10_000), dates=st.integers(1, 5), classes=st.integers(2, 4))
@settings(max_examples=30, deadline=None)
def test_equals_enumeration_of_every_path(seed, dates, classes):
    seen, chance, initial, _ = chain_and_seen(seed, dates, classes, pixels=3)
    marginal, evidence = forward_backward(seen, chance, initial)
    path = viterbi(seen, chance, initial)
    for n in range(3):
        expected, log_total, best = enumerate_paths(seen[:, :, n], chance, initial)
        np.testing.assert_allclose(marginal[:, :, n], expected, atol=1e-12)
        np.testing.assert_allclose(evidence[n], log_total, rtol=1e-10)
        assert tuple(path[:, n]) == best


def test_equals_a_plain_unscaled_reference_pixel_by_pixel():
    seen, chance, initial, _ = chain_and_seen(1, dates=12, classes=4, pixels=20)
    marginal, _ = forward_backward(seen, chance, initial)
    for n in range(20):
        alpha, beta = [initial * seen[0, :, n]], [np.ones(4)]
        for t in range(1, 12):
            alpha.append(seen[t, :, n] * (alpha[-1] @ chance[t - 1]))
            beta.append(chance[11 - t] @ (seen[12 - t, :, n] * beta[-1]))
        joint = np.array(alpha) * np.array(beta[::-1])
        np.testing.assert_allclose(marginal[:, :, n], joint / joint.sum(axis=1, keepdims=True), atol=1e-12)


def test_two_state_chain_has_its_closed_form():
    a, b, years = 1 / 7, 1 / 30, np.array([0.0, 0.4, 3.0, 80.0])
    decay, share = np.exp(-(a + b) * years), a / (a + b)
    chance = transitions(generator(np.array([7.0, 30.0])), years)
    np.testing.assert_allclose(chance[:, 0, 1], share * (1 - decay), atol=1e-13)
    np.testing.assert_allclose(chance[:, 1, 0], (1 - share) * (1 - decay), atol=1e-13)


@given(seed=st.integers(0, 10_000), first=st.floats(0, 40), second=st.floats(0, 40))
@settings(max_examples=40, deadline=None)
def test_transitions_are_stochastic_and_compose(seed, first, second):
    rates = chain_and_seen(seed, 2, 4, 1)[3]
    one, two, both = transitions(rates, np.array([first, second, first + second]))
    np.testing.assert_allclose(one.sum(axis=1), 1, atol=1e-12)
    assert (one >= 0).all()
    np.testing.assert_allclose(one @ two, both, atol=1e-10)


@given(seed=st.integers(0, 10_000), order=st.sampled_from(list(permutations(range(3)))))
@settings(max_examples=30, deadline=None)
def test_renaming_classes_renames_the_answer(seed, order):
    seen, chance, initial, _ = chain_and_seen(seed, 6, 3, 4)
    order = np.array(order)
    marginal, evidence = forward_backward(seen, chance, initial)
    renamed, same = forward_backward(seen[:, order], chance[:, order][:, :, order], initial[order])
    np.testing.assert_allclose(renamed, marginal[:, order], atol=1e-12)
    np.testing.assert_allclose(same, evidence)
    np.testing.assert_array_equal(
        order[viterbi(seen[:, order], chance[:, order][:, :, order], initial[order])], viterbi(seen, chance, initial)
    )


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_a_missing_observation_is_interpolated(seed):
    """A date without observation changes nothing elsewhere, and there it is the bridge between its neighbours."""
    seen, _, initial, rates = chain_and_seen(seed, 3, 3, 5)
    seen[1] = likelihood(np.full((1, 3, 5), np.nan), initial, 0.9)[0]
    one, two = transitions(rates, np.array([2.0, 5.0]))
    marginal, evidence = forward_backward(seen, np.array([one, two]), initial)
    without, same = forward_backward(seen[[0, 2]], transitions(rates, np.array([7.0])), initial)
    np.testing.assert_allclose(marginal[[0, 2]], without, atol=1e-10)
    np.testing.assert_allclose(evidence, same, atol=1e-10)
    ends = np.einsum("in,ij,jk,kn->jn", initial[:, None] * seen[0], one, two, seen[2])
    np.testing.assert_allclose(marginal[1], ends / ends.sum(axis=0), atol=1e-10)


def test_the_prior_alone_says_nothing_and_confusion_is_summed():
    prior = np.array([0.7, 0.2, 0.1])
    assert likelihood(prior[None, :, None], prior, 0.8) == pytest.approx(1.0)
    posterior = np.array([[[0.1], [0.9], [0.0]]])
    confusion = np.array([[[0.6, 0.4, 0.0], [0, 1, 0], [0, 0, 1]]])
    ratio = np.array([0.1 / 0.7, 0.9 / 0.2, 0.0])
    expected = 0.9 * np.array([0.6 * ratio[0] + 0.4 * ratio[1], ratio[1], 0.0]) + 0.1
    np.testing.assert_allclose(likelihood(posterior, prior, 0.9, confusion)[0, :, 0], expected)
    np.testing.assert_allclose(likelihood(posterior, prior, 0.0), 1.0)


def test_long_contradictory_series_stay_finite():
    seen = np.where(np.arange(3000)[:, None, None] % 2 == np.array([0, 1])[:, None], 1.0, 1e-9)
    chance = transitions(generator(np.array([1e4, 1e4])), np.full(2999, 0.01))
    marginal, evidence = forward_backward(seen, chance, np.array([0.5, 0.5]))
    assert np.isfinite(marginal).all() and np.isfinite(evidence).all()
    np.testing.assert_allclose(marginal.sum(axis=1), 1)
    assert set(np.unique(viterbi(seen, chance, np.array([0.5, 0.5])))) <= {0, 1}


def test_bad_chains_are_refused():
    with pytest.raises(VigieError, match="dwell times"):
        generator(np.array([1.0, 0.0]))
    with pytest.raises(VigieError, match="not shares"):
        generator(np.array([1.0, 2.0]), np.array([[0.5, 0.5], [1, 0]]))
    with pytest.raises(VigieError, match="backwards"):
        transitions(generator(np.array([1.0, 2.0])), np.array([-1.0]))
