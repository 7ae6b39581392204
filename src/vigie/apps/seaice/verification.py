"""The sea-ice `verify`: forecasts and reference forecasts held against what was measured, by lead, into `scores.nc`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vigie.apps.seaice.fields import days_in, settings_of
from vigie.apps.seaice.prediction import GROUP, WHOLE, Forecasting, starts, unpacked
from vigie.apps.seaice.training import maps_of
from vigie.apps.seaice.usual import Maps
from vigie.core.errors import VigieError
from vigie.core.sea_ice import EDGE
from vigie.core.store import whole_file
from vigie.harmonize.series import QUANTITY
from vigie.learn.forecast.samples import DAY, starts_of
from vigie.story.run import Run, log
from vigie.verify.bootstrap import resample
from vigie.verify.ice_edge import edge_error, spatial_probability_score
from vigie.verify.ice_references import anomaly_persistence, damping_of, dressed
from vigie.verify.members import crps_fair
from vigie.verify.scores import OURS
from vigie.verify.tally import Tally

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]

LEVEL = 0.95
"""Of the intervals."""
EVERY_DAMPING = 4
"""Every so many days of the training fit the damping of anomalies: neighbours tell the same."""


@dataclass(frozen=True)
class Said:
    """What one method says of one day.

    Attributes
    ----------
    mean: concentration (y, x).
    probability: of ice; of a method that says one map alone, 0 and 1.
    members: (member, y, x), or None.
    """

    mean: Floats
    probability: Floats
    members: Floats | None = None

    @classmethod
    def of_map(cls, values: Floats) -> Said:
        """A method that says one map."""
        return cls(values, (values >= EDGE).astype(np.float32))

    @classmethod
    def of_members(cls, members: Floats) -> Said:
        """A method that says members."""
        return cls(members.mean(axis=0), (members >= EDGE).mean(axis=0), members)


def verify(run: Run) -> None:
    """Score everything and leave it in `scores.nc`."""
    settings = settings_of(run)
    rows: list[dict[str, Any]] = []
    with run.progress.task("verify", len(starts(run))) as advance:
        for found in scored_starts(run):
            rows += found
            advance()
    if not rows:
        raise VigieError(
            "no forecast could be held against anything",
            found="no map on any day that was forecast",
            expected="maps that go on after predict.periods begin",
            do="add files to [[acquire.sources]], or start forecasts earlier",
        )
    made = table(tallies_of(rows), settings.verify.bootstrap, run.experiment.seed)
    made.attrs = {
        "intervals": f"{100 * LEVEL:.0f} % percentile intervals of {settings.verify.bootstrap} bootstrap resamples of weeks",
        "cells": "sea outside the pole hole where ice was seen in the training; what was not measured does not count",
        "areas": "true areas of cells on the ellipsoid",
    }
    with whole_file(run.artefact("verify")) as draft:
        draft.write_bytes(made.to_netcdf(engine="h5netcdf"))
    for lead in made["lead_days"].values:
        told = made.sel(lead_days=lead)
        ours = ", ".join(
            f"{name} RMSE {float(told['rmse'].sel(model=name)):.4f} IIEE {float(told['iiee'].sel(model=name)):.3f}"
            for name in (OURS, "persistence")
        )
        log.info("verify: %d days, %s", lead, ours)


def scored_starts(run: Run) -> Iterator[list[dict[str, Any]]]:
    """Score, start by start, what every method says: a row a method and lead, with the week of the start."""
    settings, maps = settings_of(run), maps_of(run)
    node = xr.open_zarr(run.artefact("predict"), group=GROUP, consolidated=False, chunks=None, mask_and_scale=False)
    area_km2 = maps.reader.dataset["cell_area"].values / 1e6
    scored = maps.scored(WHOLE)
    past = tuple(days_in(maps.reader, settings.train.periods, "train.periods"))
    damping = {lead: fitted_damping(maps, past, lead) for lead in settings.predict.leads_days}
    drawing = drawing_of(run, maps, past)
    for number, day in enumerate(starts(run)):
        rows: list[dict[str, Any]] = []
        for at, lead in enumerate(settings.predict.leads_days):
            truth = maps.measured(day + lead * DAY, WHOLE)
            if truth is None:
                continue
            ours = node.isel(forecast_reference_time=number, lead_time=at)
            methods = {OURS: of_store(ours), **references(maps, day, lead, damping[lead], drawing)}
            known = scored & np.isfinite(truth)
            labels = {"week": str(day.astype("datetime64[W]")), "lead_days": lead}
            rows += [{"model": name, **labels, **scores_of(said, truth, area_km2, known)} for name, said in methods.items()]
        yield rows


def of_store(stored: xr.Dataset) -> Said:
    """Read one forecast back."""
    mean, probability, members = (unpacked(stored[name]) for name in (QUANTITY, "probability_of_ice", f"{QUANTITY}_member"))
    return Said(mean, probability, members)


def drawing_of(run: Run, maps: Maps, past: tuple[np.datetime64, ...]) -> Forecasting:
    """Make what draws past changes: the same that order our members dress persistence."""
    settings = settings_of(run).predict
    folder = run.artefact("train") / "all"
    return Forecasting(
        folder, "", maps, (), settings.leads_days, past, settings.members, run.experiment.seed, run.artefact("predict")
    )


def references(maps: Maps, day: np.datetime64, lead: int, damping: float, drawing: Forecasting) -> dict[str, Said]:
    """Make the reference forecasts of one start and lead."""
    now = drawing.state(day)
    before, then = (maps.usual(when, WHOLE, None) for when in (day, day + lead * DAY))
    return {
        "persistence": Said.of_map(now),
        "climatology": Said.of_map(then),
        "anomaly persistence": Said.of_map(anomaly_persistence(now, before, then)),
        "damped anomaly": Said.of_map(anomaly_persistence(now, before, then, damping)),
        "dressed persistence": Said.of_members(dressed(now, drawing.changes(day, lead))),
    }


def fitted_damping(maps: Maps, past: tuple[np.datetime64, ...], lead: int) -> float:
    """Fit how much of an anomaly is left after a lead, on scored cells of the training."""
    scored = maps.scored(WHOLE)

    def anomaly(day: np.datetime64) -> Floats:
        measured = maps.measured(day, WHOLE)
        assert measured is not None
        return (measured - maps.usual(day, WHOLE, None))[scored]

    return damping_of((anomaly(day), anomaly(day + lead * DAY)) for day in starts_of(past, (lead,))[lead][::EVERY_DAMPING])


def scores_of(said: Said, truth: Floats, area_km2: Floats, known: Bools) -> dict[str, float]:
    """Score one forecast of one day: spatial errors of its mean, of its edge and of its distribution.

    The edge is where ice is as probable as not; 'of_mean' where the mean has ice. Areas are in million km2.
    """
    ice, error = truth >= EDGE, (said.mean - truth)[known].astype(np.float64)
    edge, of_mean = (edge_error(where, ice, area_km2, known) for where in (said.probability >= 0.5, said.mean >= EDGE))
    values = {
        "rmse": np.sqrt((error**2).mean()),
        "bias": error.mean(),
        "mae": np.abs(error).mean(),
        "iiee": edge.iiee / 1e6,
        "iiee_over": edge.over / 1e6,
        "iiee_under": edge.under / 1e6,
        "iiee_of_mean": of_mean.iiee / 1e6,
        "sps": spatial_probability_score(said.probability, ice, area_km2, known) / 1e6,
    }
    if said.members is None:
        values["crps"] = values["mae"]
    else:
        members, measured = said.members[:, known].astype(np.float64), truth[known].astype(np.float64)
        m = len(members)
        values["crps"] = crps_fair(members, measured).mean()
        values["spread"] = np.sqrt(members.var(axis=0, ddof=1).mean() * (m + 1) / m)
    return {name: float(value) for name, value in values.items()}


def tallies_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Tally]:
    """Add up scores of starts by week and lead, method by method; a score that a method has not is left out."""
    frame = pd.DataFrame(rows)
    found = {}
    for name in dict.fromkeys(frame["model"]):
        mine = frame[frame["model"] == name].drop(columns="model").dropna(axis="columns").groupby(["week", "lead_days"])
        total, weight = mine.sum().to_xarray().fillna(0.0), mine.count().to_xarray().fillna(0)
        found[str(name)] = Tally(total, weight)
    return found


def table(tallies: Mapping[str, Tally], replicates: int, seed: int) -> xr.Dataset:
    """Average every method's scores over starts, (model, lead_days), each with its interval over resampled weeks."""
    made = []
    for name, tally in tallies.items():
        scores = tally.sum("week").mean()
        drawn = resample(tally, "week", replicates, seed).mean()
        bounds = drawn.quantile([(1 - LEVEL) / 2, (1 + LEVEL) / 2], "replicate").rename(quantile="bound")
        bounds = bounds.assign_coords(bound=["low", "high"]).rename({key: f"{key}_interval" for key in scores.data_vars})
        counted = tally.sum("week").weight["rmse"].rename("starts")
        made.append(xr.merge([scores, bounds, counted]).expand_dims(model=[name]))
    whole: xr.Dataset = xr.concat(made, "model", join="outer", data_vars="all")
    return whole.sortby("lead_days")
