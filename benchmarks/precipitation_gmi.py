"""Rain of GMI footprints: the ensemble of `examples/precipitation-gmi.toml` beside the published quantile network.

Days 1 to 14 of each month are learnt from, days 15 to 21 are retrieved. The published network is made here again, as told:
a perceptron 13-128-128-99 with SiLU, quantiles that do not cross, pinball loss on mm/h, AdamW 2e-3 with weight decay 1e-3,
cosine over 60 epochs, batches of 256, three seeds. Differences are resampled by day, in pairs.

    python benchmarks/precipitation_gmi.py [--out FOLDER] [--set key=value ...]

It needs the samples (VIGIE_SAMPLES) and takes about ten minutes on one core.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from precipitation_tables import LEVELS as TABLE_LEVELS
from precipitation_tables import Floats, resampled
from torch import nn
from torch.nn import functional as F

from vigie.apps.precipitation import app
from vigie.apps.precipitation.prediction import held_out, retrieved
from vigie.apps.precipitation.swaths import catalogued, opened
from vigie.story.app import perform
from vigie.story.progress import Silent
from vigie.story.reading import load
from vigie.story.run import STAGES, Run
from vigie.verify.quantile_scores import crps, twcrps
from vigie.verify.quantiles import draw

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "precipitation-gmi.toml"
TABLE = "dpr_rain_rate_open"
LEVELS = np.array(TABLE_LEVELS)
SEEDS = (0, 1, 2)
EPOCHS, BATCH = 60, 256
TAIL_MM_H = 5.0


def main() -> None:
    """Retrieve, learn the published network, print both beside each other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=None, help="folder of the run, to go on with it; left out: none is kept")
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="override a key of the experiment")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        run = retrieve(options.out or Path(folder), options.overrides)
        swath, ours = said(run)
    truth, day = swath["truth"].values[:, 0].astype(np.float64), swath["group"].values.astype(np.str_)
    tested = np.isfinite(ours).all(axis=0)
    temperature = swath["brightness_temperature"].values[:, 0].astype(np.float64)
    published = [network(temperature[~tested], truth[~tested], temperature[tested], seed) for seed in SEEDS]
    methods = {
        "ensemble of the example": ours[:, tested],
        **{f"published network, seed {s}": q for s, q in zip(SEEDS, published)},
    }
    print(f"{int((~tested).sum())} footprints to learn from, {int(tested.sum())} retrieved, {len(set(day[tested]))} days")
    print(f"{'':28}   CRPS  beyond 5   RMSE  bias %   95 %   99 %   p99  p99.9 of samples")
    for name, quantiles in methods.items():
        print(f"{name:28} {line(quantiles, truth[tested])}")
    compare(ours[:, tested], published, swath.isel(scan=tested))
    print(f"{time.monotonic() - began:.0f} s")


def retrieve(folder: Path, overrides: list[str]) -> Run:
    """Run the example up to its retrievals."""
    _, experiment = load(EXAMPLE, ["train.final=false", *overrides])
    run = Run(experiment, folder / experiment.name, Silent(), base=EXAMPLE.parent)
    perform(app, run, STAGES[:4])
    return run


def said(run: Run) -> tuple[xr.Dataset, Floats]:
    """Give the table of footprints, and the quantiles (level, row) of those that were held out, NaN elsewhere."""
    granule = next(granule for granule in catalogued(run) if granule.id == TABLE)
    quantiles = retrieved(run, granule, 0)["rainfall_rate_quantile"].values[:, :, 0].astype(np.float64)
    quantiles[:, held_out(run, TABLE)[:, 0] != 0] = np.nan
    return opened(run, granule)({}), quantiles


class Published(nn.Module):
    """The quantile network of the protocol."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(13, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 99))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Turn temperatures (n, 13) into quantiles (n, 99): q_1 = z_1, q_k = q_(k-1) + softplus(z_k - 4)."""
        z = self.layers(x)
        return torch.cat([z[:, :1], F.softplus(z[:, 1:] - 4)], dim=1).cumsum(dim=1)


def network(x: Floats, y: Floats, seen: Floats, seed: int) -> Floats:
    """Learn the published network and give its quantiles (99, row) of what is seen."""
    torch.manual_seed(seed)
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    inputs, wanted = (torch.tensor((table - mean) / deviation, dtype=torch.float32) for table in (x, seen))
    target, tau = torch.tensor(y, dtype=torch.float32), torch.tensor(LEVELS, dtype=torch.float32)
    model = Published()
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-3)
    steps = EPOCHS * math.ceil(len(target) / BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(target)).split(BATCH):
            under = target[rows, None] - model(inputs[rows])
            loss = torch.maximum(tau * under, (tau - 1) * under).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    with torch.no_grad():
        return model(wanted).clamp(min=0).numpy().T.astype(np.float64)


def line(quantiles: Floats, truth: Floats) -> str:
    """Tell the scores of one method."""
    mean = quantiles.mean(axis=0)
    drawn = draw(quantiles, LEVELS, 20, 0)
    ratios = [float(np.mean(np.quantile(drawn, level, axis=1)) / np.quantile(truth, level)) for level in (0.99, 0.999)]
    covered = [float((truth <= quantiles[at]).mean()) for at in (94, 98)]
    values = (
        crps(quantiles, LEVELS, truth).mean(),
        twcrps(quantiles, LEVELS, truth, TAIL_MM_H).mean(),
        np.sqrt(((mean - truth) ** 2).mean()),
        100 * (mean.mean() / truth.mean() - 1),
    )
    return "{:6.4f}    {:6.4f} {:6.3f}  {:+6.1f}".format(*values) + "  {:.3f}  {:.3f}  {:4.2f}  {:5.2f}".format(
        *covered, *ratios
    )


def compare(ours: Floats, published: list[Floats], held: xr.Dataset) -> None:
    """Tell the difference from the mean score of the published network's seeds, resampled by day."""
    truth = held["truth"].values[:, 0].astype(np.float64)
    scores = {
        "CRPS": lambda q: crps(q, LEVELS, truth),
        "CRPS beyond 5 mm/h": lambda q: twcrps(q, LEVELS, truth, TAIL_MM_H),
    }
    for name, score in scores.items():
        difference = score(ours) - np.mean([score(q) for q in published], axis=0)
        low, high = np.quantile(resampled(difference, held), [0.025, 0.975])
        print(f"{name}: {difference.mean():+.4f} [{low:+.4f}, {high:+.4f}], ours less than the published network's")


if __name__ == "__main__":
    main()
