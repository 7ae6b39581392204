"""Inputs that hold across climates: formulas, a clear sky that is found again, and the shift that it takes away."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import xarray as xr
from scipy.integrate import quad
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vigie.core.errors import VigieError
from vigie.core.swath import Channel, channel_coordinates
from vigie.learn.adaptation import fit_coral
from vigie.learn.climate_inputs import (
    REGRESSORS,
    ClearSky,
    corrected_temperatures,
    fit_clear_sky,
    invariant_inputs,
    line_differences,
    of_role,
    polarisation_differences,
    regressors,
    relative_vapour,
    saturated_tcwv,
)

GMI = {
    **{f"{name}{side.lower()}": Channel(ghz, side) for name, ghz in (("10", 10.65), ("18", 18.7)) for side in "VH"},
    "23v": Channel(23.8, "V"),
    **{
        f"{name}{side.lower()}": Channel(ghz, side)
        for name, ghz in (("36", 36.64), ("89", 89.0), ("166", 166.0))
        for side in "VH"
    },
    "183-3": Channel(183.31, "V", sideband_ghz=3.0),
    "183-7": Channel(183.31, "V", sideband_ghz=7.0),
}
CHANNELS = tuple(GMI.values())
ANCILLARY = ("tcwv", "skt", "lsm", "u10", "v10", "t2m")


def swath(values, channels=CHANNELS):
    return xr.DataArray(np.asarray(values, dtype=np.float64), channel_coordinates(channels), ("row", "channel"))


def weather(rows, seed=0):
    random = np.random.default_rng(seed)
    low, high = (5, 260, 0, -15, -15, 255), (65, 305, 1, 15, 15, 303)
    return xr.Dataset({name: ("row", random.uniform(a, b, rows)) for name, a, b in zip(ANCILLARY, low, high, strict=True)})


def test_differences_are_those_of_gmi_by_name():
    kelvins = dict(zip(GMI, 200.0 + np.arange(13) ** 2, strict=True))
    found = invariant_inputs(swath([list(kelvins.values())])).to_series().droplevel("row").to_dict()
    pairs = {f"{'37' if n == '36' else n}V-{'37' if n == '36' else n}H": kelvins[f"{n}v"] - kelvins[f"{n}h"]
             for n in ("10", "18", "36", "89", "166")}  # fmt: skip
    assert found == pytest.approx(
        pairs
        | {
            "PCT37": 2.15 * kelvins["36v"] - 1.15 * kelvins["36h"],
            "PCT89": 1.7 * kelvins["89v"] - 0.7 * kelvins["89h"],
            "183+-7-183+-3": kelvins["183-7"] - kelvins["183-3"],
            "37V-89V": kelvins["36v"] - kelvins["89v"],
            "89V-166V": kelvins["89v"] - kelvins["166v"],
            "18V-37V": kelvins["18v"] - kelvins["36v"],
            "23V-18V": kelvins["23v"] - kelvins["18v"],
        }
    )


def test_roles_hold_for_other_sensors_and_order_does_not_matter():
    ssmis = [Channel(91.655, "H"), Channel(91.655, "V"), Channel(37.0, "V"), Channel(37.0, "H")]
    tb = swath([[210.0, 260.0, 230.0, 190.0]], ssmis)
    assert of_role(tb, "89", "V").item() == 260.0
    assert corrected_temperatures(tb).sel(input="PCT89").item() == pytest.approx(1.7 * 260 - 0.7 * 210)
    assert polarisation_differences(tb)["input"].values.tolist() == ["37V-37H", "89V-89H"]


def test_images_keep_their_shape_and_gaps_stay():
    tb = swath(np.full((6, 13), 250.0))
    tb[2, 7] = np.nan  # 89V
    image = tb.values.reshape(2, 3, 13)
    found = invariant_inputs(xr.DataArray(image, tb.drop_vars("row", errors="ignore").coords, ("scan", "pixel", "channel")))
    assert found.dims == ("scan", "pixel", "input") and found.shape == (2, 3, 12)
    gone = set(found["input"].values[np.isnan(found.values[0, 2])])
    assert gone == {"89V-89H", "PCT89", "37V-89V", "89V-166V"} and int(np.isnan(found).sum()) == 4


def test_only_what_the_channels_allow_is_made_and_two_of_a_kind_are_refused():
    few = swath([[1.0, 2.0, 5.0]], [Channel(36.5, "V"), Channel(36.5, "H"), Channel(183.31, "V", sideband_ghz=7.0)])
    assert invariant_inputs(few)["input"].values.tolist() == ["37V-37H", "PCT37"]
    assert line_differences(few).shape == (1, 0)
    with pytest.raises(VigieError, match="89 GHz channel of polarisation V"):
        of_role(few, "89", "V")
    with pytest.raises(VigieError, match="37 GHz channel of polarisation V"):
        corrected_temperatures(swath([[1.0, 2.0, 3.0]], [Channel(36.5, "V"), Channel(37.0, "V"), Channel(36.5, "H")]))


def test_a_known_clear_sky_is_found_again_through_json():
    ancillary, random = weather(400), np.random.default_rng(1)
    truth = random.normal(size=(len(REGRESSORS), 13))
    seen = swath(regressors(ancillary).transpose("row", "regressor").values @ truth + 200.0)
    seen[3, 4] = np.nan
    ancillary["skt"][7] = np.nan
    clear = fit_clear_sky(seen, ancillary, ridge=1e-9)
    # w = l w + (1 - l) w and k likewise: coefficients are not unique, temperatures are.
    excess = clear.excess(seen, ancillary)
    assert float(np.abs(excess).max()) < 1e-4
    assert set(map(tuple, np.argwhere(np.isnan(excess.values)))) == {(3, 4), *((7, n) for n in range(13))}
    assert ClearSky.from_dict(json.loads(json.dumps(asdict(clear)))) == clear


def test_the_clear_sky_is_sklearns_ridge():
    ancillary, random = weather(200), np.random.default_rng(2)
    seen = swath(random.normal(250.0, 20.0, (200, 13)))
    table = regressors(ancillary).transpose("row", "regressor").values
    theirs = make_pipeline(StandardScaler(), Ridge(3.0)).fit(table, seen.values)
    other = weather(50, seed=3)
    wanted = theirs.predict(regressors(other).transpose("row", "regressor").values)
    assert np.allclose(fit_clear_sky(seen, ancillary, ridge=3.0).background(other).values, wanted)


def test_land_alone_is_enough_for_a_clear_sky():
    ancillary = weather(100)
    ancillary["lsm"] = xr.ones_like(ancillary["lsm"])
    clear = fit_clear_sky(swath(np.random.default_rng(0).normal(250, 1, (100, 13))), ancillary)
    assert np.isfinite(clear.coefficients).all()


def test_a_clear_sky_of_nothing_or_of_other_channels_is_refused():
    ancillary = weather(30)
    seen = swath(np.full((30, 13), 250.0))
    with pytest.raises(VigieError, match="0 complete rows of 30"):
        fit_clear_sky(seen * np.nan, ancillary)
    clear = fit_clear_sky(seen, ancillary)
    with pytest.raises(VigieError, match="other channels"):
        clear.excess(seen.isel(channel=slice(None, None, -1)), ancillary)
    with pytest.raises(ValueError, match="no clear sky of 13 channels"):
        ClearSky.from_dict(asdict(replace(clear, intercept=clear.intercept[:2])))


@pytest.mark.parametrize("t2m", [250.0, 273.15, 300.0, 312.0])
def test_saturated_vapour_is_the_integral(t2m):
    def density(height):
        air = t2m - 0.0065 * height
        return 611.2 * np.exp(17.62 * (air - 273.15) / (243.12 + air - 273.15)) / (461.5 * air)

    wanted, _ = quad(density, 0, 12_000)
    assert saturated_tcwv(xr.DataArray(t2m)).item() == pytest.approx(wanted, rel=1e-6)
    fields = xr.Dataset({"tcwv": wanted / 2, "t2m": t2m})
    assert relative_vapour(fields).item() == pytest.approx(0.5)


def footprints(folder, name):
    """Temperatures, ancillary fields in the layout's units, and all columns, of rows with all channels."""
    with np.load(folder / "precipitation" / "gmi_pairs" / name) as file:
        columns = {key: file[key] for key in file.files}
    kelvins = np.stack([columns[key] for key in GMI], axis=1)
    whole = (kelvins > 50).all(axis=1)
    columns = {key: values[whole] for key, values in columns.items()}
    known = columns["tcwv"] > 0
    ancillary = xr.Dataset({key: ("row", np.where(known, columns[key], np.nan)) for key in ANCILLARY})
    ancillary["tcwv"] = ancillary["tcwv"] / 1000  # g m-2
    return swath(kelvins[whole]), ancillary, columns


@pytest.mark.realdata
def test_inputs_close_the_gap_between_dry_and_moist_climates(samples):
    """Train on the 60 % driest rows of days 1-14, test on the 15 % moistest of days 15-21, as the published baselines do."""
    seen, ancillary, columns = footprints(samples, "dpr_rain_rate_open.npz")
    rain, vapour, early = columns["DPR rain Rate"], ancillary["tcwv"].values, columns["Day"] <= 14
    dry = early & (vapour <= np.nanquantile(vapour[early], 0.6))
    moist = ~early & (vapour > np.nanquantile(vapour[~early], 0.85))
    assert (dry.sum(), moist.sum()) == (2468, 296)

    around, about, phase = footprints(samples, "dpr_phase_open.npz")
    without = np.flatnonzero((phase["Prcp flag"] == 0) & (phase["Day"] <= 14))
    clear = fit_clear_sky(around[without], about.isel(row=without))
    left = clear.excess(around[without], about.isel(row=without)).std("row")
    published = {"36.64V": 9.5, "36.64H": 16.8, "89.00V": 7.1, "89.00H": 12.9, "166.00V": 5.6, "183.31+-7V": 5.1}
    assert {name: round(float(left.sel(channel=name)), 1) for name in published} == published

    def scores(inputs, learnt=None):
        settings = {"max_iter": 300, "learning_rate": 0.05, "min_samples_leaf": 30, "random_state": 0}
        learnt = inputs[dry] if learnt is None else learnt
        found = HistGradientBoostingRegressor(**settings).fit(learnt, rain[dry]).predict(inputs[moist])
        return np.sqrt(((found - rain[moist]) ** 2).mean()), 100 * (found.mean() / rain[moist].mean() - 1)

    plain = scores(seen.values)
    assert plain == pytest.approx((2.574, 39.0), abs=0.05)
    rmse, bias = scores(invariant_inputs(seen).values)
    assert rmse == pytest.approx(2.341, abs=0.03) and bias == pytest.approx(15.9, abs=2)
    rmse, bias = scores(clear.excess(seen, ancillary).values)
    assert rmse == pytest.approx(2.222, abs=0.03) and abs(bias) < 5
    assert (plain[0] - rmse) / (2.574 - 2.078) > 0.7
    unlabelled = early & (vapour > np.nanquantile(vapour[~early], 0.85))
    coral = fit_coral(seen.values[dry], seen.values[unlabelled], ridge=1.0)
    rmse, bias = scores(seen.values, coral(seen.values[dry]))
    assert rmse == pytest.approx(2.608, abs=0.03) and bias == pytest.approx(-17.9, abs=2)
