"""What the report says in words, and how rare rain is told: held against what the numbers are made to be."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from vigie.apps.precipitation.extremes import return_levels
from vigie.apps.precipitation.failures import doubts, failures
from vigie.apps.precipitation.shown import Shown
from vigie.core.granule import Granule
from vigie.verify.tail_counts import count_tails


def scores(bias=5.0, interval=(2.0, 8.0), coverage=(0.5, 0.9, 0.95, 0.99), p99=1.0, p999=1.0, wet=1.0) -> xr.Dataset:
    return xr.Dataset(
        {
            "bias_percent": ("model", [bias]),
            "bias_percent_interval": (("model", "bound"), [list(interval)]),
            "coverage": (("model", "level"), [list(coverage)]),
            "tail_p99_ratio": ("model", [p99]),
            "tail_p999_ratio": ("model", [p999]),
            "tail_wet_ratio": ("model", [wet]),
        },
        coords={"model": ["model"], "bound": ["low", "high"], "level": [0.5, 0.9, 0.95, 0.99]},
    )


def regimes(bias, footprints, coverage) -> xr.Dataset:
    return xr.Dataset(
        {
            "bias_percent": ("regime", bias),
            "footprints": ("regime", footprints),
            "coverage": (("regime", "level"), [[share] for share in coverage]),
        },
        coords={"regime": ["sea", "land", "coast"], "level": [0.95]},
    )


def test_a_bias_that_may_be_none_is_told_so():
    assert "5.0 % too high (+2.0 to +8.0 %)." in " ".join(failures(scores(), None))
    assert "does not tell from none" in " ".join(failures(scores(-1.0, (-3.0, 2.0)), None))
    assert "1.0 % too low" in " ".join(failures(scores(-1.0, (-3.0, 2.0)), None))


def test_the_worst_regime_is_named_unless_it_is_small():
    told = " ".join(failures(scores(), regimes([10.0, -30.0, 90.0], [500, 400, 10], [0.95, 0.90, 0.1])))
    assert "The worst regime is land: there the mean is 30 % too low (400 footprints)" in told
    assert "The 95 % quantile fails most in the regime land: it holds 90.0 % of what came" in told
    assert "coast" not in told


@pytest.mark.parametrize(
    ("p99", "p999", "verdict"),
    [(0.7, 0.6, "too weak"), (1.3, 1.0, "too strong"), (1.0, 1.05, "right"), (0.8, 1.3, "some too weak, some too strong")],
)
def test_extremes_are_judged_by_their_ratios(p99, p999, verdict):
    assert f"Extremes of samples are {verdict}: p99 {p99:.2f} times" in " ".join(failures(scores(p99=p99, p999=p999), None))
    assert "too little rain" in " ".join(failures(scores(p99=np.nan, p999=np.nan), None))


def test_levels_that_do_not_hold_are_named():
    assert "95 % holds 93.0 %" in " ".join(failures(scores(coverage=(0.2, 0.9, 0.93, 0.99)), None))
    assert "within a point" in " ".join(failures(scores(coverage=(0.2, 0.9, 0.95, 0.99)), None))


def shown(name: str, flags: list[int]) -> Shown:
    granule = Granule(name, "", "GMI", "GPM", "1C", (), 1, 1, {})
    return Shown(granule, np.array(flags), 0.0, 0)


def test_what_is_out_of_distribution_is_counted_and_placed():
    told = " ".join(doubts([shown("a", [90, 0, 10, 0]), shown("b", [50, 10, 40, 100]), shown("c", [200, 0, 0, 0])]))
    assert told.startswith("12.5 % of the retrievals are out of distribution")
    assert "Most of them lie in b, with 40.0 %" in told and "2.5 % lack a channel" in told
    assert list(doubts([shown("a", [0, 0, 0, 5])])) == ["Nothing was retrieved."]


def test_rare_rain_of_an_exponential_is_its_closed_form():
    """P(Y > y) = exp(-y / 3): one in N footprints reaches 3 ln N."""
    random = np.random.default_rng(0)
    truth = random.exponential(3.0, 40_000)
    found = return_levels({"model": count_tails(random.exponential(3.0, (20, 40_000)), truth)}, seed=1)
    exact = 3 * np.log(found["return_period"].values)
    near = found["return_period"].values < 2000
    np.testing.assert_allclose(found["return_level_fit"].values[near], exact[near], rtol=0.05)
    np.testing.assert_allclose(found["return_level"].sel(model="model").values[near], exact[near], rtol=0.03)
    low, high = (found["return_level_fit_interval"].sel(bound=bound).values for bound in ("low", "high"))
    assert ((low <= exact * 1.02) & (exact <= high * 1.02)).all()
    assert found.attrs["tail_excesses"] == pytest.approx(2000, rel=0.01), "those in the bin of the threshold are no excesses"


@pytest.mark.parametrize(
    "truth", [np.zeros(5000), np.r_[np.zeros(4990), np.ones(10)], np.arange(100.0)], ids=["dry", "rare", "few"]
)
def test_too_little_rain_has_no_return_levels_and_says_why(truth):
    found = return_levels({"model": count_tails(truth[None], truth)}, seed=0)
    assert "return_level" not in found and found.attrs["no_return_levels"]
