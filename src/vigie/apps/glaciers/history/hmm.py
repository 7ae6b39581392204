"""A hidden Markov model over classes for every pixel: what lay there at each date, given all dates (notes M12; Rabiner 1989).

Shapes: T dates, K classes, N pixels. Plain numpy; every function treats all pixels at once and none depends on its neighbours,
so results do not depend on how a map is cut into tiles.

    alpha_t(j) = e_j(t) sum_i alpha_{t-1}(i) T_ij(dt),      T(dt) = expm(Q dt)

Any class may follow any other: glaciers surge and advance, lakes grow and drain, so nothing here prefers retreat.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm

from vigie.core.errors import VigieError

Floats = NDArray[np.float64]

LEAST_LIKELIHOOD = 1e-9
"""No observation excludes a class: packed probabilities are exactly 0 or 1 where the model was merely very sure."""


def generator(dwell_years: Floats, moves: Floats | None = None) -> Floats:
    """Build the rate matrix Q (K, K), per year, from how long each class lasts and where it then goes.

    Parameters
    ----------
    dwell_years: mean time a pixel stays in each class, years (K,).
    moves: share of each destination when a class ends (K, K), rows of 1, diagonal 0; all destinations alike when None.

    Raises
    ------
    VigieError
        When a dwell time is not positive or the rows of `moves` are not shares.

    Examples
    --------
    >>> generator(np.array([10.0, 40.0]))
    array([[-0.1  ,  0.1  ],
           [ 0.025, -0.025]])
    """
    count = len(dwell_years)
    if moves is None:
        moves = (np.ones((count, count)) - np.eye(count)) / max(count - 1, 1)
    sums = moves.sum(axis=1)
    if count < 2 or moves.shape != (count, count) or (moves < 0).any() or np.diag(moves).any() or not np.allclose(sums, 1):
        raise VigieError(
            "moves between classes are not shares",
            found=f"{moves.shape} matrix with row sums {sums.tolist()}, diagonal {np.diag(moves).tolist()}",
            expected=f"a ({count}, {count}) matrix of two classes or more, none negative, rows of 1, diagonal 0",
        )
    if not (np.asarray(dwell_years) > 0).all():
        raise VigieError("dwell times are not positive", found=list(dwell_years), expected="years > 0 for every class")
    return np.asarray((moves - np.eye(count)) / np.asarray(dwell_years, dtype=np.float64)[:, None])


def transitions(rates: Floats, years: Floats) -> Floats:
    """Give T(dt) = expm(Q dt) for every interval: (T - 1, K, K), rows of 1.

    Parameters
    ----------
    rates: Q (K, K), per year.
    years: time between successive dates, years (T - 1,); zero is allowed (two sensors on one day).

    Examples
    --------
    >>> transitions(generator(np.array([2.0, 2.0])), np.array([0.0, 1e6])).round(3)
    array([[[1. , 0. ],
            [0. , 1. ]],
           [[0.5, 0.5],
            [0.5, 0.5]]])
    """
    if (np.asarray(years) < 0).any():
        raise VigieError("dates run backwards", found=f"an interval of {np.min(years)} years", expected="dates in order")
    if len(years) == 0:
        return np.empty((0, *rates.shape))
    chance = np.clip(expm(rates[None] * np.asarray(years, dtype=np.float64)[:, None, None]), 0.0, 1.0)
    return np.asarray(chance / chance.sum(axis=2, keepdims=True))


def likelihood(posterior: Floats, prior: Floats, confidence: Floats | float, confusion: Floats | None = None) -> Floats:
    """Turn a model's posterior into the likelihood of each true class, up to a factor: (T, K, N).

    What was seen is p_k / prior_k for apparent class k (the model's posterior over its class prior). A true class j looks
    like class k with chance C_jk (seasonal snow hides rock: `confusion`), and the observation is worthless with chance
    1 - confidence (cloud, shadow): it is then drawn from the prior whatever the truth, which contributes exactly 1.

        e_j = confidence sum_k C_jk p_k / prior_k + (1 - confidence),      missing: e_j = 1

    Parameters
    ----------
    posterior: (T, K, N), NaN where there is no observation.
    prior: class prior the model was trained under (K,), adds to 1.
    confidence: chance that an observation means something, 0-1, broadcast to (T, N).
    confusion: C (T, K, K), rows of 1; the identity when None.

    Examples
    --------
    >>> likelihood(np.array([[[0.9], [0.1]], [[np.nan], [np.nan]]]), np.array([0.5, 0.5]), 1.0)[:, :, 0]
    array([[1.8, 0.2],
           [1. , 1. ]])
    """
    ratio = posterior / prior[:, None]
    if confusion is not None:
        ratio = np.einsum("tjk,tkn->tjn", confusion, ratio)
    sure = np.broadcast_to(np.asarray(confidence, dtype=np.float64), posterior[:, 0].shape)[:, None]
    seen = sure * ratio + (1.0 - sure)
    return np.where(np.isfinite(posterior).all(axis=1, keepdims=True), np.maximum(seen, LEAST_LIKELIHOOD), 1.0)


def forward_backward(seen: Floats, chance: Floats, initial: Floats) -> tuple[Floats, Floats]:
    """Give the chance of every class at every date given all dates, and how well the model explains them.

    Both recursions are scaled to add to 1 at every date, so no series is too long.

    Parameters
    ----------
    seen: likelihoods (T, K, N).
    chance: transitions (T - 1, K, K).
    initial: chance of each class at the first date (K,).

    Returns
    -------
    Marginals (T, K, N) that add to 1 over classes, and the log evidence log p(observations) (N,).

    Examples
    --------
    >>> seen = np.array([[[0.9], [0.1]], [[1.0], [1.0]], [[0.9], [0.1]]])
    >>> chance = transitions(generator(np.array([10.0, 10.0])), np.array([1.0, 1.0]))
    >>> forward_backward(seen, chance, np.array([0.5, 0.5]))[0][1, :, 0].round(3)
    array([0.958, 0.042])
    """
    dates, _, pixels = seen.shape
    marginal, evidence = np.empty_like(seen), np.zeros(pixels)
    ahead = np.broadcast_to(initial[:, None], seen.shape[1:])
    for t in range(dates):
        if t:
            ahead = chance[t - 1].T @ marginal[t - 1]
        joint = seen[t] * ahead
        total = joint.sum(axis=0)
        marginal[t] = joint / total
        evidence += np.log(total)
    behind = np.ones_like(seen[0])
    for t in range(dates - 2, -1, -1):
        behind = chance[t] @ (seen[t + 1] * behind)
        behind /= behind.sum(axis=0)
        marginal[t] *= behind
        marginal[t] /= marginal[t].sum(axis=0)
    return marginal, evidence


def viterbi(seen: Floats, chance: Floats, initial: Floats) -> NDArray[np.uint8]:
    """Give the most probable sequence of classes (T, N) (Viterbi 1967), in log space; the first class wins a tie.

    Parameters are those of `forward_backward`.

    Examples
    --------
    >>> seen = np.array([[[0.9], [0.1]], [[0.3], [0.7]], [[0.9], [0.1]]])
    >>> chance = transitions(generator(np.array([10.0, 10.0])), np.array([1.0, 1.0]))
    >>> viterbi(seen, chance, np.array([0.5, 0.5]))[:, 0]
    array([0, 0, 0], dtype=uint8)
    """
    dates, _, pixels = seen.shape
    with np.errstate(divide="ignore"):
        evidence, moves, score = np.log(seen), np.log(chance), np.log(initial)[:, None] + np.log(seen[0])
    origin = np.zeros(seen.shape, dtype=np.uint8)
    for t in range(1, dates):
        arrivals = score[:, None] + moves[t - 1][:, :, None]
        origin[t] = arrivals.argmax(axis=0)
        score = arrivals.max(axis=0) + evidence[t]
    path = np.empty((dates, pixels), dtype=np.uint8)
    path[-1] = score.argmax(axis=0)
    for t in range(dates - 1, 0, -1):
        path[t - 1] = np.take_along_axis(origin[t], path[t][None].astype(np.intp), axis=0)[0]
    return path
