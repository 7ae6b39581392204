"""Reproduce the baselines of the glacier notes (B1 debris, B2 film, B3 Landsat-7) on the real samples.

    python benchmarks/glaciers_baselines.py                        # everything, about 15 minutes on two idle cores
    python benchmarks/glaciers_baselines.py --only film            # one of debris, film, landsat
    python benchmarks/glaciers_baselines.py --out runs/baselines   # also write scores, to compare networks with

Tables have the columns of the notes; each cell is "here (notes)". Forests balance class weights in each tree's sample
(`balanced_subsample`, leaves of 5 pixels): with weights balanced once, pooled IoU of debris is 0.01 higher than the notes'
and ECE twice theirs. Draws of training pixels differ from the notes', so the last digits do too. The last row of B1 is ours:
context taken of standardised bands, where the notes' "std" rows scale every context layer by its own percentiles.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr
from glaciers_data import chips, exposure, film, landsat7, stress_notes, stress_strong
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.metrics import average_precision_score

from vigie.apps.glaciers.classes import CLASSES, CLEAN, DEBRIS
from vigie.core.legend import LabelLegend
from vigie.verify import features, scores, thresholds
from vigie.verify.baselines import Baseline, Fitted, Jitter, Trees, gradient_boosting, random_forest
from vigie.verify.boundary import DIRECTIONS
from vigie.verify.classes import LabelledTile, merge_labels
from vigie.verify.tally import Metric, Tally

Scenes = Mapping[str, xr.Dataset]
Counts = dict[str, Tally]

ON_CHIPS, ON_FILM, ON_LANDSAT = map(CLASSES.label, ("debris-or-not", "glacier-or-not", "ice-and-debris"))
"""Label legends of the three sample sets."""

JOBS = 2
RF = partial(random_forest, trees=60, jobs=JOBS)
RF200 = partial(random_forest, trees=200, jobs=JOBS)
JITTER = Jitter({"reflectance": (0.6, 1.3, -0.02, 0.03), "thermal": (1, 1, -2500, 2500), "coherence": (0.85, 1.15, -10, 10)})
STD_CLEAR = partial(features.pixel_and_context_standardised, over=features.clear_without_shadow)
CONTEXT_OF_STD = partial(features.pixel_and_context, scale=features.standardised_without_shadow)

console = Console(width=250, log_path=False)


@dataclass(frozen=True)
class DebrisRow:
    """One row of B1: the baseline and the notes' numbers (pooled IoU, F1, AP, ECE, six chips, stress); None = not given."""

    name: str
    baseline: Trees
    notes: tuple[float | None, ...]


def debris_rows() -> list[DebrisRow]:
    """List the rows of table B1."""
    trees = partial(Trees, labels=ON_CHIPS)
    rows: list[tuple[str, Trees, str]] = [
        ("RF pixel, raw", trees(features.pixel, RF), ".340 .507 .417 .070 .173 .346 .357 .302 .351 .442 .268"),
        ("RF + context, raw", trees(features.pixel_and_context, RF),
         ".506 .672 .640 .024 .277 .508 .656 .412 .604 .547 .341"),
        ("GB + context, raw", trees(features.pixel_and_context, gradient_boosting),
         ".516 .680 .629 .053 .246 .465 .782 .453 .588 .549 .371"),
        ("RF + context, std", trees(features.pixel_and_context_standardised, RF),
         ".483 .652 .644 .024 .279 .367 .689 .408 .341 .635 .483"),
        ("RF + context, std without shadow", trees(STD_CLEAR, RF), ".519 - - - .288 .415 .765 .436 .536 .593 .517"),
        ("RF + context, raw + jitter", trees(features.pixel_and_context, RF, pixels=3000, copies=JITTER),
         ".533 - - - .275 .529 .686 .444 .592 .607 .538"),
        ("RF + context of std bands, without shadow", trees(CONTEXT_OF_STD, RF), "- - - - - - - - - - -"),
    ]  # fmt: skip
    return [DebrisRow(name, baseline, tuple(None if v == "-" else float(v) for v in n.split())) for name, baseline, n in rows]


FIVE_BLOCK_NOTES = {
    "RF + context, raw": 0.491,
    "GB + context, raw": 0.504,
    "RF + context, std": 0.479,
    "GB + context, std": 0.477,
}


def debris(out: Path | None) -> None:
    """Print table B1: leave one chip out; five blocks = chips 155 and 157 left out together."""
    scenes = chips()
    table = Table("model", "IoU", "F1", "AP", "ECE", *scenes, "stress", "strong", "5 blocks", title="B1 debris: here (notes)")
    runs = []
    for row in debris_rows():
        started = time.monotonic()
        plain, probability, stress, strong, blocks = debris_folds(row.baseline, scenes)
        pooled = scores.assemble(row.name, plain)
        runs.append(pooled)
        truth = np.concatenate([scene["truth"].values.ravel() for scene in scenes.values()])
        said = np.concatenate([probability[name][1].ravel() for name in scenes])
        values = [
            one(pooled, "iou"),
            one(pooled, "f1"),
            float(average_precision_score(truth, said)),
            one(pooled, "label_ece"),
            *(one(pooled.sel(scene=name), "iou_by_scene") for name in scenes),
            one(scores.assemble("", stress), "iou"),
        ]
        extra = [one(scores.assemble("", counts), "iou") for counts in (strong, blocks)]
        cells = [cell(value, note) for value, note in zip(values, row.notes, strict=True)]
        table.add_row(row.name, *cells, cell(extra[0]), cell(extra[1], FIVE_BLOCK_NOTES.get(row.name)))
        console.log(f"{row.name}: {time.monotonic() - started:.0f} s")
    console.print(table)
    write(runs, out, "debris")


def debris_folds(baseline: Trees, scenes: Scenes) -> tuple[Counts, dict[str, NDArray[np.float32]], Counts, Counts, Counts]:
    """Train without each chip and predict it plain, stressed and strongly stressed; then without each group."""
    drawn = {name: baseline.draw(scene) for name, scene in scenes.items()}
    probability, plain, stress, strong, blocks = {}, [], [], [], []
    for name, scene in scenes.items():
        fitted = baseline.learn([part for other, part in drawn.items() if other != name])
        probability[name] = fitted.probability(scene)
        plain.append(count(probability[name], scene, ON_CHIPS))
        stress.append(count(fitted.probability(stress_notes(scene)), scene, ON_CHIPS, CLASSES_ONLY))
        strong.append(count(fitted.probability(stress_strong(scene)), scene, ON_CHIPS, CLASSES_ONLY))
    for group in sorted({scene.attrs["group"] for scene in scenes.values()}):
        inside = [name for name, scene in scenes.items() if scene.attrs["group"] == group]
        if len(inside) > 1:
            fitted = baseline.learn([part for other, part in drawn.items() if other not in inside])
        for name in inside:
            said = fitted.probability(scenes[name]) if len(inside) > 1 else probability[name]
            blocks.append(count(said, scenes[name], ON_CHIPS, CLASSES_ONLY))
    add = scores.add_counts
    return add(plain), probability, add(stress), add(strong), add(blocks)


def film_rows() -> dict[str, tuple[Baseline, tuple[float, float]]]:
    """List the columns of table B2: baseline, and the notes' IoU on western Vatnajokull and on Langjokull."""
    trees = partial(Trees, labels=ON_FILM, pixels=60_000)
    local_std = partial(features.film_local, scale=features.standardised)
    return {
        "Otsu, train threshold": (thresholds.TrainOtsu(), (0.839, 0.831)),
        "Otsu, own threshold": (thresholds.OwnOtsu(), (0.846, 0.820)),
        "Otsu train + 7x7 median": (thresholds.TrainOtsu(clean=thresholds.MedianClean(7)), (0.859, 0.858)),
        "Otsu train + 11x11 median, parts": (thresholds.TrainOtsu(clean=thresholds.MedianClean(11, 2000)), (0.874, 0.867)),
        "RF intensity": (trees(features.film_intensity, RF200), (0.847, 0.830)),
        "RF + local": (trees(features.film_local, RF200), (0.877, 0.845)),
        "RF + local, std per scene": (trees(local_std, RF), (0.880, 0.828)),
    }


FILM_NOTES = {
    # stress IoU; median distance mapped to reference, reference to mapped, P95 reference to mapped [m]; area ratio
    ("vatnajokull_w", "Otsu, own threshold"): (0.845, None, None, None, None),
    ("vatnajokull_w", "Otsu train + 11x11 median, parts"): (None, 605, 978, 3132, None),
    ("vatnajokull_w", "RF intensity"): (None, 1241, 270, None, None),
    ("vatnajokull_w", "RF + local"): (0.004, 600, 671, 2651, 0.987),
    ("vatnajokull_w", "RF + local, std per scene"): (0.880, None, None, None, 0.982),
    ("langjokull", "Otsu, own threshold"): (0.820, None, None, None, None),
    ("langjokull", "Otsu train + 11x11 median, parts"): (None, 474, 525, 3577, None),
    ("langjokull", "RF + local"): (0.000, 605, 309, 1171, 1.104),
    ("langjokull", "RF + local, std per scene"): (0.828, None, None, None, 1.126),
}


def film_baselines(out: Path | None) -> None:
    """Print table B2: train on one crop, test on the other; stress = test image x 0.75."""
    scenes = film()
    head = ("IoU", "x 0.75", "median map>ref", "median ref>map", "P95 map>ref", "P95 ref>map", "area ratio", "seconds")
    table = Table("test crop", "baseline", *head, title="B2 film: here (notes); distances in m")
    runs = []
    for name, (baseline, notes) in film_rows().items():
        counts = []
        for (test, scene), note in zip(scenes.items(), notes, strict=True):
            started = time.monotonic()
            fitted = baseline.fit([other for key, other in scenes.items() if key != test])
            counts.append(count(fitted.probability(scene), scene, ON_FILM))
            result = scores.assemble(name, counts[-1]).sel(label="glacier")
            dark = count(fitted.probability(exposure(scene, 0.75)), scene, ON_FILM, CLASSES_ONLY)
            stressed = one(scores.assemble(name, dark), "iou", "glacier")
            stress_note, forth, back, back_p95, area_note = FILM_NOTES.get((test, name), (None,) * 5)
            distances = [one(result.sel(direction=d), "boundary_median_m") for d in DIRECTIONS]
            distances += [one(result.sel(direction=d), "boundary_p95_m") for d in DIRECTIONS]
            table.add_row(
                test,
                name,
                cell(one(result, "iou"), note),
                cell(stressed, stress_note),
                *(cell(d, n, 0) for d, n in zip(distances, (forth, back, None, back_p95), strict=True)),
                cell(1 + one(result, "area_deviation"), area_note),
                f"{time.monotonic() - started:.0f}",
            )
        runs.append(scores.assemble(name, scores.add_counts(counts)))
        console.log(name)
    console.print(table)
    write(runs, out, "film")


LANDSAT_NOTES = {
    "RF 4 bands": ".430 .374 .257 .648 .419 .338 .568 .395 .304 .422 .435",
    "RF 4 bands + local": ".612 .361 .211 .724 .391 .336 .681 .375 .292 .450 .403",
}


def landsat_baselines(out: Path | None) -> None:
    """Print table B3: train on the western half, test on the eastern, and the other way round."""
    scene = landsat7()["everest_landsat7"]
    column = np.arange(scene.sizes["x"])
    halves = {"east": column >= 400, "west": column < 400}
    train = {"east": column < 400 - 16, "west": column >= 400 + 16}
    head = [f"{half} {name}" for half in ("E", "W", "pooled") for name in ("other", "clean", "debris")]
    table = Table("features", *head, "mIoU", "glacier", "seconds", title="B3 Landsat-7, three classes: here (notes)")
    runs = []
    for (name, notes), recipe in zip(LANDSAT_NOTES.items(), (features.four_bands, features.four_bands_local), strict=True):
        started = time.monotonic()
        baseline = Trees(recipe, RF200, ON_LANDSAT, pixels=60_000)
        counts = []
        for half, columns in halves.items():
            fitted: Fitted = baseline.fit([only(scene, train[half])])
            counts.append(count(fitted.probability(scene), only(scene, columns, half), ON_LANDSAT))
        added = scores.add_counts(counts)
        run = scores.assemble(name, added)
        runs.append(run)
        ice = merge_labels(added["classes"].sum("scene"), {"no glacier": ["no glacier"], "glacier": [CLEAN, DEBRIS]})
        glacier = float(scores.SEGMENTATION["classes"].finish(ice)["iou"].sel(label="glacier"))
        values = [float(run["iou_by_scene"].sel(scene=h, label=c)[0]) for h in halves for c in ON_LANDSAT.names]
        values += [float(run["iou"].sel(label=c)[0]) for c in ON_LANDSAT.names] + [float(run["mean_iou"][0]), glacier]
        cells = [cell(value, float(note)) for value, note in zip(values, notes.split(), strict=True)]
        table.add_row(name, *cells, f"{time.monotonic() - started:.0f}")
        console.log(name)
    console.print(table)
    write(runs, out, "landsat")


CLASSES_ONLY = {"classes": scores.SEGMENTATION["classes"]}


def count(
    probability: NDArray[np.float32],
    scene: xr.Dataset,
    labels: LabelLegend,
    metrics: Mapping[str, Metric[LabelledTile]] = scores.SEGMENTATION,
) -> Counts:
    """Count one scene's prediction against its truth."""
    gsd_m = float(scene["gsd_m"][0])
    tile = LabelledTile(probability, labels.rows(scene["truth"].values), labels.names, gsd_m)
    return {name: tally.at(scene=scene.attrs["scene"]) for name, tally in scores.count_tile(tile, metrics).items()}


def only(scene: xr.Dataset, columns: NDArray[np.bool_], name: str = "") -> xr.Dataset:
    """Keep the truth of some columns; elsewhere it is unknown."""
    truth = scene["truth"].where(xr.DataArray(columns, dims="x"), 255).astype(np.uint8)
    return scene.assign(truth=truth).assign_attrs(scene=name or scene.attrs["scene"])


def one(run: xr.Dataset, name: str, label: str = DEBRIS) -> float:
    """Take one number of one model's scores."""
    values = run[name]
    return float(values.sel(label=label).item() if "label" in values.dims else values.item())


def cell(value: float, note: float | None = None, digits: int = 3) -> str:
    """Write a value, and the notes' beside it."""
    return f"{value:.{digits}f}" + (f" ({note:.{digits}f})" if note is not None else "")


def write(runs: Sequence[xr.Dataset], out: Path | None, name: str) -> None:
    """Write all baselines' scores of one table into one file."""
    if out is not None:
        scores.save(scores.compare(runs), out / f"baselines_{name}.nc")
        console.log(f"wrote {out / f'baselines_{name}.nc'}")


TABLES: Mapping[str, Callable[[Path | None], None]] = {
    "landsat": landsat_baselines,
    "film": film_baselines,
    "debris": debris,
}


def main() -> None:
    """Print the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=TABLES, help="one table instead of all")
    parser.add_argument("--out", type=Path, help="folder for the scores")
    arguments = parser.parse_args()
    started = time.monotonic()
    for name, table in TABLES.items():
        if arguments.only in (None, name):
            table(arguments.out)
    console.log(f"{time.monotonic() - started:.0f} s by the clock, {time.process_time():.0f} s of processor time")


if __name__ == "__main__":
    main()
