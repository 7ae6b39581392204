"""A swath's retrieval as it is published: what the folds' models held out, put together block by block, and a sample."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.apps.precipitation.prediction import folds_needed, held_out, retrieved
from vigie.apps.precipitation.samples import drawn
from vigie.apps.precipitation.swaths import catalogued, opened
from vigie.core import store
from vigie.core.granule import Granule
from vigie.core.tiles import Window
from vigie.core.vocabulary import named
from vigie.learn.folds import NEVER
from vigie.learn.retrieval_model import read_card
from vigie.predict.quality import QUALITY
from vigie.publish.provenance import sha256
from vigie.story.apply import given_command
from vigie.story.run import Run
from vigie.story.scenes import fold_name

MAPS = {"scan", "pixel"}
"""Dimensions of what is published of every footprint."""
MEMBER = "rainfall_rate_member"
NOT_TOLD = "not told by the model card"
COORDINATES: Mapping[str, Mapping[str, str]] = {
    "quantile": {"long_name": "level of the quantile: the share of outcomes at or below it", "units": "1"},
    "threshold": {"long_name": "rain rate that may be exceeded", "standard_name": "rainfall_rate", "units": "mm h-1"},
    "member": {"long_name": "number of the member", "units": "1"},
    "bound": {"long_name": "end of the interval"},
    "time": {"long_name": "time of the scan", "standard_name": "time"},
    "latitude": {"long_name": "latitude of the footprint", "standard_name": "latitude", "units": "degrees_north"},
    "longitude": {"long_name": "longitude of the footprint", "standard_name": "longitude", "units": "degrees_east"},
}
"""What CF asks of coordinates."""


@dataclass(frozen=True)
class Composed:
    """A swath's retrieval by the models that did not learn from it: call it with a window of scans.

    A swath without folds is the final model's whole. Where every fold learnt from a footprint there is no retrieval.
    """

    granule: Granule
    source: xr.Dataset
    nodes: Mapping[int, xr.Dataset]
    owners: NDArray[np.int16] | None
    seed: int

    def __call__(self, window: Window) -> xr.Dataset:
        """Load some scans: all that is retrieved of footprints, a sample, and the rain rates they are held against."""
        scans = window["scan"]
        found = xr.Dataset({name: self._whole(name, scans) for name in self._names})
        found["rainfall_rate_sample"] = (("scan", "pixel"), self._sample(found, scans.start))
        if "truth" in self.source:
            found["truth"] = (("scan", "pixel"), self.source["truth"].isel(scan=scans).values)
        return found

    def template(self, attributes: Mapping[str, object]) -> xr.Dataset:
        """Describe the whole, with positions and times; what a call gives is left to be filled in."""
        described: dict[str, dict[str, object]] = {name: dict(self._first[name].attrs) for name in self._names}
        described["rainfall_rate_sample"] = {**named("rainfall_rate_sample").attributes, "sample_seed": self.seed}
        if "truth" in self.source:
            described["truth"] = {**named("truth_rate").attributes, "label_source": self.granule.label_source}
        coordinates = {
            name: xr.Variable(c.dims, np.array(c.values.tolist(), dtype=np.str_)) if c.dtype.kind in "OT" else c.variable
            for name, c in self._first.coords.items()
            if name not in ("group", "experiment")
        }
        coordinates |= {name: self.source[name].variable.load() for name in ("latitude", "longitude")}
        made = xr.Dataset(coords=coordinates, attrs=dict(attributes))
        for name in set(COORDINATES) & set(made.coords):
            made[name].attrs.update(COORDINATES[str(name)])
        for name, told in described.items():
            like = self._first[name if name in self._names else "rainfall_rate"]
            made[name] = store.empty(list(map(str, like.dims)), like.shape, str(like.dtype), told)
        return made

    def _sample(self, found: xr.Dataset, first_scan: int) -> NDArray[np.float32]:
        """Take the first member, where members were drawn: they know the far tail. Else draw from the quantiles."""
        if MEMBER in found:
            return np.asarray(found[MEMBER].values[0], dtype=np.float32)
        levels = self._first["quantile"].values
        samples = drawn(found["rainfall_rate_quantile"].values, levels, self.granule.id, first_scan, seed=self.seed)
        return np.asarray(samples[0], dtype=np.float32)

    @property
    def _first(self) -> xr.Dataset:
        return next(iter(self.nodes.values()))

    @property
    def _names(self) -> list[str]:
        """Everything that a model says of footprints: members and intervals, too, where it was asked for them."""
        return [str(name) for name, variable in self._first.data_vars.items() if set(map(str, variable.dims)) >= MAPS]

    def _whole(self, name: str, scans: slice) -> xr.Variable:
        """Take one variable of some scans, each footprint from the model that held it out."""
        if self.owners is None:
            return self._first[name].isel(scan=scans).variable.load()
        like, owners = self._first[name].isel(scan=scans).variable, self.owners[scans]
        nothing = QUALITY["no_retrieval"] if name == "quality_flag" else store.fill_value(like.dtype)
        values = np.full(like.shape, nothing, like.dtype)
        for fold, node in self.nodes.items():
            mine = owners == fold
            if mine.any():
                values[..., mine] = node[name].isel(scan=scans).values[..., mine]
        return xr.Variable(like.dims, values)


def composed(run: Run, granule: Granule) -> Composed:
    """Open all that is published of a swath; nothing is loaded yet."""
    folds = folds_needed(run, granule)
    owners = None if folds == [NEVER] else held_out(run, granule.id)
    nodes = {fold: retrieved(run, granule, fold) for fold in folds}
    return Composed(granule, opened(run, granule).dataset, nodes, owners, run.experiment.seed)


def facts_of(run: Run, granule: Granule) -> dict[str, object]:
    """Tell of a swath's file what made it: instrument, models with hash and card, labels, calibration, levels and seed."""
    names = [fold_name(fold) for fold in folds_needed(run, granule)]
    folders = [run.artefact("train") / name for name in names]
    cards = {name: read_card(folder) for name, folder in zip(names, folders, strict=True)}
    facts = [card["facts"] for card in cards.values()]
    node = retrieved(run, granule, folds_needed(run, granule)[0])
    sample = (
        "the first member" if MEMBER in node else "one draw from the quantiles, seeded by sample_seed, granule and scan number"
    )
    return {
        "granule": granule.id,
        "sensor": granule.sensor,
        "platform": granule.platform,
        "input_product": granule.product,
        **{f"time_coverage_{end}": at for end, at in (("start", granule.begin), ("end", granule.end)) if at},
        "model": ", ".join(names),
        "model_sha256": ", ".join(sha256(folder / "card.json") for folder in folders),
        "model_card": json.dumps(cards, sort_keys=True),
        "training_label_sources": label_sources(run, facts),
        "calibration_set": "; ".join(dict.fromkeys(str(fact.get("calibration", "none")) for fact in facts)),
        "quantile_levels": np.asarray(node["quantile"].values, dtype=np.float64),
        "mean_definition": "mean of the predicted distribution, its tails included",
        "sample_definition": f"{sample} of each footprint",
    }


def label_sources(run: Run, facts: list[Mapping[str, Any]]) -> str:
    """Name the origins of the rain rates that were learnt from."""
    told = {str(source) for fact in facts for source in fact.get("label_sources", ())}
    if not told and given_command(run) is None:
        told = {granule.label_source for granule in catalogued(run) if granule.label_source}
    return ", ".join(sorted(told)) or NOT_TOLD
