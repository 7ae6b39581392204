"""One table and one figure from the scores of several runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import xarray as xr

from vigie.core.errors import VigieError
from vigie.core.store import whole_file
from vigie.story.run import ARTEFACTS
from vigie.verify import scores
from vigie.verify.figures import score_bars

COLUMNS = ("iou", "f1", "precision", "recall", "area_deviation", "label_ece")
"""Scores of one class that the table shows."""


def compare(runs: Sequence[Path], out: Path) -> str:
    """Write `comparison.csv`, one figure for each class, and `comparison.html`; give the table as text.

    A run's network takes the run's name; reference methods that several runs scored appear once.

    Raises
    ------
    VigieError: a run has no scores, or runs were scored on other scenes or labels.
    """
    tables, figures = [], []
    for legend in shared_legends(runs):
        merged = merged_scores(runs, legend)
        for label in merged["label"].values.tolist():
            frame = scores.table(merged, list(COLUMNS), label)
            tables.append(frame.assign(legend=legend, label=label).reset_index())
            name = f"{legend}-{label}".replace(" ", "-")
            with whole_file(out / f"{name}.png") as draft:
                score_bars(merged, "iou", label).savefig(draft, dpi=150)
            figures.append((f"{legend}: {label}", name, frame))
    everything = pd.concat(tables, ignore_index=True)
    with whole_file(out / "comparison.csv") as draft:
        everything.to_csv(draft, index=False)
    return "\n\n".join(f"{title}\n{frame.to_string()}" for title, _, frame in figures)


def shared_legends(runs: Sequence[Path]) -> list[str]:
    """Label legends that every run was scored with."""
    found = [set(groups(run)) for run in runs]
    shared = set.intersection(*found) if found else set()
    if not shared:
        raise VigieError(
            "these runs have no labels in common",
            found={run.name: sorted(names) for run, names in zip(runs, found, strict=True)},
            expected="runs that were scored with the same label legend",
        )
    return sorted(shared)


def groups(run: Path) -> list[str]:
    """Label legends in a run's scores."""
    path = run / ARTEFACTS["verify"]
    if not path.is_file():
        raise VigieError(f"run '{run}' has no scores", found=f"nothing at {path}", do="run `vigie run` on its experiment first")
    with xr.open_datatree(path, engine="h5netcdf") as tree:
        return [str(name) for name, node in tree.children.items() if "model" in node.dims]


def merged_scores(runs: Sequence[Path], legend: str) -> xr.Dataset:
    """Put the scores of several runs along `model`."""
    return scores.compare(list(_models(runs, legend)))


def _models(runs: Sequence[Path], legend: str) -> Iterator[xr.Dataset]:
    seen: set[str] = set()
    for run in runs:
        table = read_group(run / ARTEFACTS["verify"], legend)
        names = [run.name if name == "network" else str(name) for name in table["model"].values]
        table = table.assign_coords(model=names)
        new = [name for name in names if name not in seen]
        seen |= set(new)
        yield table.sel(model=new)


def read_group(path: Path, group: str) -> xr.Dataset:
    """Read one group of a `scores.nc` whole, with text as numpy text."""
    with xr.open_dataset(path, engine="h5netcdf", group=group) as data:
        loaded = data.load()
    return loaded.assign_coords({name: c.astype(str) for name, c in loaded.coords.items() if c.dtype.kind in "OT"})
