"""One pass over the matches of a pairing: everything is counted by group, and finished with intervals over groups."""

from __future__ import annotations

import numpy as np
import xarray as xr

from vigie.apps.precipitation.assess.counters import COUNTERS, OF_OWN_WEATHER, Protocol
from vigie.apps.precipitation.assess.pairing import Pairing
from vigie.verify.bootstrap import BOUNDS, interval
from vigie.verify.tally import Tally


def counted(pairing: Pairing, protocol: Protocol) -> dict[str, Tally]:
    """Count everything in one pass over the matches, each tally along `group`."""
    sums: dict[str, dict[str, Tally]] = {name: {} for name in COUNTERS}
    for match in pairing.matches():
        for group in np.unique(match.group):
            part = match.only(match.group == group)
            if not (np.isfinite(part.estimate) & np.isfinite(part.truth)).any():
                continue  # a day that was not retrieved is no day to resample
            for name, counter in COUNTERS.items():
                if (name in OF_OWN_WEATHER or not pairing.own_weather) and counter.applies(part):
                    tally = counter.count(part, protocol)
                    there = sums[name].get(str(group))
                    sums[name][str(group)] = tally if there is None else there + tally
    return {name: _along_groups(groups) for name, groups in sums.items() if groups}


def finished(tallies: dict[str, Tally], protocol: Protocol, replicates: int) -> dict[str, xr.Dataset]:
    """Finish every tally, each figure with its 95 % interval over resampled groups beside it."""
    found = {}
    for name, tally in tallies.items():
        finish = COUNTERS[name].finish
        scores = finish(tally.sum("group"))
        bounds = interval(tally, finish, "group", replicates=replicates, seed=protocol.seed).assign_coords(bound=list(BOUNDS))
        found[name] = xr.merge(
            [scores, bounds.rename({key: f"{key}_interval" for key in bounds.data_vars})], join="exact", compat="no_conflicts"
        )
    return found


def _along_groups(tallies: dict[str, Tally]) -> Tally:
    """Put the tallies of groups beside each other."""
    labels = xr.DataArray(np.array(list(tallies), dtype=np.str_), dims="group", name="group")

    def together(which: str) -> xr.Dataset:
        parts = [getattr(tally, which) for tally in tallies.values()]
        made: xr.Dataset = xr.concat(parts, labels, join="exact", data_vars="all", coords="minimal", compat="override")
        return made

    return Tally(together("total"), together("weight"))
