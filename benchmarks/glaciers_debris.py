"""Bar 1: debris-covered ice on six chips, leave one chip out, networks beside baselines, plain and under two stresses.

    python benchmarks/glaciers_debris.py --out runs/bench [--networks unet random-unet own-unet deeplab dpt]

"unet" is the example as it is, whose encoder has learnt from photographs; all others start from random weights, "random-unet"
(1 member) with the same layers, "own-unet" with layers of our own.

Every network runs through the stages of `vigie run examples/glaciers-debris.toml`; a finished run is not trained again. The
stresses alter the images only: they are written as files and go through acquire, harmonize and predict with the trained models.
All scores are of the 250 000 pixels of 10 m of each chip: probabilities of the 20 m grid are interpolated bilinearly.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import rasterio
import xarray as xr
from glaciers_baselines import ON_CHIPS, console, count, debris_folds, debris_rows, one
from glaciers_data import CHIPS, chips, samples_folder
from numpy.typing import NDArray
from rich.table import Table
from scipy import ndimage

from vigie.apps.glaciers import app as glaciers
from vigie.apps.glaciers.classes import DEBRIS, LEGEND
from vigie.core.vocabulary import named
from vigie.story import prediction
from vigie.story.app import perform
from vigie.story.compare import compare
from vigie.story.products import open_prediction
from vigie.story.reading import load
from vigie.story.run import Run
from vigie.story.scenes import parts_of, settings_of
from vigie.verify import scores

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "glaciers-debris.toml"
NO_DATA = 65535
"""The stored number that means no data."""

NETWORKS: Mapping[str, tuple[str, ...]] = {
    "unet": (),
    "random-unet": ('train.network.weights="none"', "train.members=1"),
    "own-unet": (
        'train.network={name="unet-groupnorm", widths=[16, 32, 64, 128, 128], stem_channels=16, reduction=2, dropout=0.1}',
    ),
    "deeplab": (
        'train.network={name="deeplabv3plus", encoder="resnet18", stem_channels=16, reduction=2, dropout=0.1}',
        # Batch normalisation needs many windows a batch.
        "train.windows={size=128, batch=12, rare_share=0.3}",
        "train.members=1",
    ),
    "dpt": (
        'train.network={name="dpt-dinov3", stem_channels=16, reduction=2, dropout=0.1}',
        # Its patches of 16 px at half the resolution, reassembled at a quarter of that, want multiples of 64.
        "train.windows={size=192, batch=5, rare_share=0.3}",
        "train.fit.learning_rate=5e-4",
        "train.fit.steps=100",
        "train.members=1",
    ),
}
"""Changes to the example."""

BASELINES = ["RF + context of std bands, without shadow", "RF + context, raw + jitter", "GB + context, raw"]
"""The strongest baseline we know (the bar is measured from it), and the notes' two strongest kinds."""

Alter = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def stress_notes(stored: NDArray[np.float32]) -> NDArray[np.float32]:
    """The notes' stress in stored numbers: bands 1-5 x 0.75 + 150, band 6 + 1500, band 7 x 0.9 + 10."""
    changed = stored.copy()
    changed[:5] = changed[:5] * 0.75 + 150
    changed[5] += 1500
    changed[6] = changed[6] * 0.9 + 10
    return changed


def stress_strong(stored: NDArray[np.float32]) -> NDArray[np.float32]:
    """Far outside any jitter: bands 1-5 x 0.4, band 6 + 4000."""
    changed = stored.copy()
    changed[:5] *= 0.4
    changed[5] += 4000
    return changed


def stress_season(stored: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of another kind: each band its own gain, a haze that decreases with wavelength and varies across the chip."""
    changed = stored.copy()
    gains, haze = (1.25, 1.15, 1.0, 0.85, 0.8), (420.0, 300.0, 200.0, 90.0, 20.0)
    across = np.linspace(0.4, 1.0, stored.shape[2], dtype=np.float32)[None, :]
    for band, (gain, veil) in enumerate(zip(gains, haze, strict=True)):
        changed[band] = changed[band] * gain + veil * across
    changed[5] -= 1200
    return changed


STRESSES: Mapping[str, Alter] = {"notes": stress_notes, "strong": stress_strong, "season": stress_season}


def trained(network: str, out: Path) -> Run:
    """Train and score one kind of network, or find it finished."""
    overrides = (f"name=debris-{network}", "train.final=false", "labels.rules=none", "verify.baselines=[]", *NETWORKS[network])
    app, experiment = load(EXAMPLE, overrides)
    run = Run(experiment, out / experiment.name, base=EXAMPLE.parent)
    perform(app, run, ("acquire", "harmonize", "train", "predict", "verify"))
    return run


def stressed(run: Run, stress: str, out: Path) -> Run:
    """Predict altered chips with the models of a finished run."""
    folder = out / "stressed" / stress
    write_stressed(folder, STRESSES[stress])
    settings = run.experiment.model_dump(mode="json", exclude_none=True)
    settings["name"] = f"{run.experiment.name}-{stress}"
    source = settings["acquire"]["sources"][0]
    source["images"] = [str(folder / "image*.tif")]
    experiment = type(run.experiment).model_validate(settings)
    again = Run(experiment, out / experiment.name, base=EXAMPLE.parent)
    perform(glaciers, again, ("acquire", "harmonize"))
    if not again.artefact("train").exists():
        again.artefact("train").symlink_to(run.artefact("train").resolve(), target_is_directory=True)
    prediction.predict(again)
    return again


def write_stressed(folder: Path, alter: Alter) -> None:
    """Write altered copies of the six images."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in CHIPS:
        source = samples_folder() / "s2_debris_chips_everest_sikkim" / f"image{number}.tif"
        with rasterio.open(source) as file:
            profile, stored = file.profile, file.read().astype(np.float32)
        with rasterio.open(folder / source.name, "w", **profile) as file:
            file.write(np.clip(np.rint(alter(stored)), 0, 65535).astype(profile["dtype"]))


def probability_of(run: Run, chip: xr.Dataset, name: str) -> NDArray[np.float32]:
    """Probability of (not debris, debris) on the 10 m grid of a chip."""
    part = next(p for p in parts_of(run, settings_of(run).train.folds) if p.scene == f"image{name}")
    node = open_prediction(run, part)
    x0, dx, _, y0, _, dy = (float(v) for v in node["spatial_ref"].attrs["GeoTransform"].split())
    rows = (chip["y"].values - y0) / dy - 0.5
    columns = (chip["x"].values - x0) / dx - 0.5
    stored = node["probability"].values[LEGEND.channel(DEBRIS)]
    # The 20 m grid reaches beyond the chip: what lies outside takes the nearest pixel inside.
    nearest = ndimage.distance_transform_edt(stored == NO_DATA, return_distances=False, return_indices=True)
    coarse = stored[tuple(nearest)].astype(np.float32) * named("probability").step
    debris = ndimage.map_coordinates(coarse, np.meshgrid(rows, columns, indexing="ij"), order=1, mode="nearest")
    return np.stack([1 - debris, debris]).astype(np.float32)


def network_row(network: str, out: Path, scenes: Mapping[str, xr.Dataset]) -> list[str]:
    """Score one network, plain and stressed."""
    run = trained(network, out)
    plain = scores.assemble(network, scores.add_counts([counted(run, scene, name) for name, scene in scenes.items()]))
    members = len(settings_of(run).train.networks)
    cells = [f"{network} ({members} member{'s' * (members > 1)})", f"{one(plain, 'iou'):.3f}", f"{one(plain, 'f1'):.3f}"]
    cells += [f"{one(plain, 'label_ece'):.3f}", *(f"{one(plain.sel(scene=name), 'iou_by_scene'):.3f}" for name in scenes)]
    for stress in STRESSES:
        altered = stressed(run, stress, out)
        counts = scores.add_counts([counted(altered, scene, name) for name, scene in scenes.items()])
        cells.append(f"{one(scores.assemble('', counts), 'iou'):.3f}")
    return cells


def counted(run: Run, chip: xr.Dataset, name: str) -> dict[str, object]:
    """Count one chip."""
    return count(probability_of(run, chip, name), chip, ON_CHIPS)


def baseline_row(name: str, scenes: Mapping[str, xr.Dataset]) -> list[str]:
    """Score one baseline on the same pixels; it has no third stress."""
    row = next(row for row in debris_rows() if row.name == name)
    plain, _, stress, strong, _ = debris_folds(row.baseline, scenes)
    pooled = scores.assemble(name, plain)
    cells = [name, f"{one(pooled, 'iou'):.3f}", f"{one(pooled, 'f1'):.3f}", f"{one(pooled, 'label_ece'):.3f}"]
    cells += [f"{one(pooled.sel(scene=chip), 'iou_by_scene'):.3f}" for chip in scenes]
    return [*cells, *(f"{one(scores.assemble('', counts), 'iou'):.3f}" for counts in (stress, strong)), "-"]


def main() -> None:
    """Print the table of bar 1, and make the comparison page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--baselines", nargs="*", default=BASELINES)
    options = parser.parse_args()
    scenes = chips()
    stresses = [f"IoU {stress}" for stress in STRESSES]
    table = Table("model", "IoU", "F1", "ECE", *scenes, *stresses, title="B1 debris, leave one chip out, 10 m pixels")
    for network in options.networks:
        table.add_row(*network_row(network, options.out, scenes))
    for name in options.baselines:
        table.add_row(*baseline_row(name, scenes))
    console.print(table)
    if len(options.networks) > 1:
        console.print(compare([options.out / f"debris-{network}" for network in options.networks], options.out / "comparison"))


if __name__ == "__main__":
    main()
