"""One table and one figure from the scores of several runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from vigie.core.errors import VigieError
from vigie.core.store import check_folder, whole_file
from vigie.story.run import ARTEFACTS
from vigie.verify import scores
from vigie.verify.figures import BARS_TELL, draw_bars

COLUMNS = ("iou", "f1", "precision", "recall", "area_deviation", "label_ece")
"""Scores of one class that the table shows."""
SHOWN = "iou"
"""The score that the figure shows."""


TABLE, FIGURE = "comparison.csv", "comparison.png"


def compare(runs: Sequence[Path], out: Path) -> str:
    """Write the table and the figure into a folder; give the table as text, and what to mind of its intervals.

    A run's model takes the run's name; a reference method to which several runs gave the same scores appears once, another of
    that name with its run's.

    Raises
    ------
    VigieError: a run has no scores or is named twice, runs were scored on other scenes or labels, or `out` cannot be a folder.
    """
    check_different(runs)
    tables, panels = [], []
    for legend in shared_legends(runs):
        merged = merged_scores(runs, legend)
        for label in merged["label"].values.tolist():
            frame = scores.table(merged, list(COLUMNS), label)
            tables.append(frame.assign(legend=legend, label=label).reset_index())
            panels.append((f"{legend}: {label}", merged, label))
    everything = pd.concat(tables, ignore_index=True)[["legend", "label", "model", *tables[0].columns[1:-2]]]
    check_folder(out)
    cautions = cautions_of(runs)
    with whole_file(out / TABLE) as draft:
        everything.to_csv(draft, index=False)
    with whole_file(out / FIGURE) as draft:
        figure_of(panels, names_of(runs), cautions).savefig(draft, dpi=150)
    return "\n".join([everything.to_string(index=False), *cautions])


def check_different(runs: Sequence[Path]) -> None:
    """Refuse one run under two names: a table would show it twice, as if two runs agreed."""
    names: dict[Path, Path] = {}
    for run in runs:
        if run.resolve() in names:
            raise VigieError(
                "the same run is named twice",
                found=" and ".join(dict.fromkeys(map(str, (names[run.resolve()], run)))),
                expected="runs that differ",
                do="name each run once",
            )
        names[run.resolve()] = run


def cautions_of(runs: Sequence[Path]) -> list[str]:
    """What to mind of the intervals of some run, each once."""
    told = [
        str(read_group(run / ARTEFACTS["verify"], legend).attrs.get("caution", ""))
        for run in runs
        for legend in shared_legends(runs)
    ]
    return [caution for caution in dict.fromkeys(told) if caution]


def figure_of(panels: Sequence[tuple[str, xr.Dataset, str]], names: Mapping[Path, str], cautions: Sequence[str]) -> Figure:
    """Draw one score of every class and run: a panel a class, two beside each other."""
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    models = max(merged.sizes["model"] for _, merged, _ in panels)
    figure = Figure(figsize=(5.4 * columns, 0.4 + (0.9 + 0.36 * models) * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, (title, merged, label) in zip(grid.flat, panels):
        draw_bars(axes, merged, SHOWN, label, highlight=set(names.values()))
        axes.set_title(title, loc="left", fontsize=9)
        axes.set(xlim=(0, 1), xlabel="")
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    told = f"intersection over union; {BARS_TELL}; in colour: the runs, in grey: reference methods"
    figure.supxlabel("\n".join([told, *cautions]), fontsize=8)
    return figure


def names_of(runs: Sequence[Path]) -> dict[Path, str]:
    """Name runs by their folders, and by the folders above where these are called the same.

    Examples
    --------
    >>> list(names_of([Path("one/unet"), Path("two/unet"), Path("two/vit")]).values())
    ['one/unet', 'two/unet', 'vit']
    """
    folders = {run: run.resolve() for run in runs}
    names = {}
    for run, folder in folders.items():
        others = [other for other in folders.values() if other != folder]
        depths = range(1, len(folder.parts))
        enough = next((n for n in depths if all(other.parts[-n:] != folder.parts[-n:] for other in others)), 1)
        names[run] = "/".join(folder.parts[-enough:])
    return names


def shared_legends(runs: Sequence[Path]) -> list[str]:
    """Label legends that every run was scored with."""
    found = [set(groups(run)) for run in runs]
    shared = set.intersection(*found) if found else set()
    if not shared:
        raise VigieError(
            "these runs have no labels in common",
            found="; ".join(f"{run}: {', '.join(sorted(names)) or 'none'}" for run, names in zip(runs, found, strict=True)),
            expected="runs that were scored with the same label legend",
            do="compare runs of the same data",
        )
    return sorted(shared)


def groups(run: Path) -> list[str]:
    """Label legends in a run's scores."""
    path = run / ARTEFACTS["verify"]
    if not path.is_file():
        raise VigieError(f"run '{run}' has no scores", found=f"nothing at {path}", do="run `vigie run` on its experiment first")
    with opened(path) as tree:
        return [str(name) for name, node in tree.children.items() if "model" in node.dims]


@contextmanager
def opened(path: Path) -> Iterator[xr.DataTree]:
    """Open a `scores.nc` to read from.

    Raises
    ------
    VigieError: the file is truncated, damaged, or something else.
    """
    try:
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            yield tree
    except OSError as error:
        raise VigieError(
            f"{path} is not the scores of a run",
            found=error,
            expected="a whole scores.nc",
            do="delete it and run `vigie verify` again",
        ) from error


def merged_scores(runs: Sequence[Path], legend: str) -> xr.Dataset:
    """Put the scores of several runs along `model`."""
    return scores.compare(list(_models(runs, legend)))


def _models(runs: Sequence[Path], legend: str) -> Iterator[xr.Dataset]:
    seen: dict[str, list[xr.Dataset]] = {}
    for run, called in names_of(runs).items():
        table = read_group(run / ARTEFACTS["verify"], legend)
        new: dict[str, str] = {}
        for name in table["model"].values.tolist():
            values, others = _numbers(table, name), seen.setdefault(name, [])
            if name == scores.OURS:
                new[name] = called
            elif not any(values.equals(other) for other in others):
                new[name] = f"{name} of {called}" if others else name
            others.append(values)
        yield table.sel(model=list(new)).assign_coords(model=list(new.values()))


def _numbers(table: xr.Dataset, model: str) -> xr.Dataset:
    """What was found of a model, without the intervals, which hang on a seed."""
    wanted = [name for name in table.data_vars if not str(name).endswith("_interval")]
    return table[wanted].sel(model=model, drop=True)


def read_group(path: Path, group: str) -> xr.Dataset:
    """Read one group of a `scores.nc` whole, with the coordinates it shares with the group above it, and text as numpy text."""
    with opened(path) as tree:
        loaded = tree[group].to_dataset().load()
    used = {dim for variable in loaded.data_vars.values() for dim in variable.dims}
    loaded = loaded.drop_vars([name for name, c in loaded.coords.items() if not set(c.dims) <= used])
    return loaded.assign_coords({name: c.astype(str) for name, c in loaded.coords.items() if c.dtype.kind in "OT"})
