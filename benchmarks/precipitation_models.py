"""Every model of the application in one table with intervals, and one page that says in words where each fails.

    python benchmarks/precipitation_models.py [--out FOLDER] [--models NAME ...]

Each model learns from the footprints of `examples/precipitation-gmi.toml` (days 1 to 14 of each month) and retrieves days 15 to
21, through the six stages of `vigie run`; `vigie assess` then holds all products against the radar. All but the ensembles are
one network of 128-128 on temperatures, trained for as long as the published one (60 epochs). Nothing is tuned for any of them.

It needs the samples (VIGIE_SAMPLES) and takes half an hour on one core. With --out, models that were finished are kept, and the
page is `assessment.html` there.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from vigie.apps.precipitation import app
from vigie.apps.precipitation.assess.settings import AssessmentSettings
from vigie.story.app import perform
from vigie.story.progress import Silent
from vigie.story.reading import load
from vigie.story.run import STAGES, Run

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "precipitation-gmi.toml"
TABLE = "dpr_rain_rate_open"
SOURCES = "sample:precipitation/gmi_pairs/"

ONE = ("train.members=1", "train.more=[]", "train.fit.steps=1000", "train.final=false", "verify.baselines=[]")
"""What turns the example's ensemble into one network."""
MEMBERS = (*ONE, "predict.members=32")
ERA5 = (
    f"acquire.sources=[{{files='{SOURCES}dpr_rain_rate_open.npz', label_source='dpr'}}, "
    f"{{files='{SOURCES}dpr_phase_open.npz', label_source='dpr'}}, "
    f"{{files='{SOURCES}era5_rain_rate_open.npz', label_source='era5'}}]",
    "train.hybrid.observed=['dpr']",
)

MODELS: Mapping[str, tuple[str, ...]] = {
    "quantile network (reference)": ONE,
    "on log-linear rain": (*ONE, "train.head.scale=log-linear"),
    "tail-weighted pinball": (*ONE, "train.head.objective=tail-weighted"),
    "CRPS beyond 5 mm/h weighted": (*ONE, "train.head.objective=threshold-weighted"),
    "rain-weighted (improper)": (*ONE, "train.head.objective=rain-weighted"),
    "quantiles and Pareto tail": (*ONE, "train.head.name=tail"),
    "hurdle, gamma": (*ONE, "train.head.name=hurdle-gamma"),
    "hurdle, lognormal": (*ONE, "train.head.name=hurdle-lognormal"),
    "hurdle, extended GPD": (*ONE, "train.head.name=hurdle-egpd"),
    "censored-shifted gamma": (*ONE, "train.head.name=csgd"),
    "Tweedie": (*ONE, "train.head.name=tweedie"),
    "four seeds": (*ONE, "train.members=4"),
    "departures and invariants": (*ONE, "train.layers=['departure', 'invariant']"),
    "group-DRO over vapour": (*ONE, "train.robust.method=group-dro", "train.regimes.by=['vapour']"),
    "CORAL to what is retrieved": (*ONE, "train.adapt.method=coral", "train.adapt.to=held-out"),
    "adversarial to what is retrieved": (*ONE, "train.adapt.method=adversarial", "train.adapt.to=held-out"),
    "with ERA5, translated": (*ONE, *ERA5, "train.hybrid.labels=matched", "train.hybrid.temperatures=translated"),
    "flow matching": (*MEMBERS, "train.generative={method={name='pixel', steps=6}, fit={steps=3000, learning_rate=1e-3}}"),
    "diffusion": (
        *MEMBERS,
        "train.generative={method={name='pixel', generator='diffusion', steps=12}, fit={steps=3000, learning_rate=1e-3}}",
    ),
    "ensemble of the example": ("train.final=false", "verify.baselines=[]"),
}
"""Models and how each differs from the example."""
GENERATIVE = ("flow matching", "diffusion")
"""Models whose members are judged."""

FIGURES = {
    ("rates.bias_percent", ""): ("bias, %", "+.1f"),
    ("rates.rmse", ""): ("RMSE", ".3f"),
    ("crps.crps", ""): ("CRPS", ".3f"),
    ("crps.twcrps", "threshold=5"): ("beyond 5", ".3f"),
    ("coverage.coverage", "level=0.95"): ("95 %", ".3f"),
    ("coverage.coverage", "level=0.99"): ("99 %", ".3f"),
    ("intensity.p99_ratio", ""): ("p99", ".2f"),
    ("intensity.p999_ratio", ""): ("p99.9", ".2f"),
}
"""Figures of an assessment that are printed, and where: title and format."""


def main() -> None:
    """Train what is asked for, assess all of it, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=None, help="folder to keep everything in; left out: nothing is kept")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), metavar="NAME", help="some of the models")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        out = options.out or Path(scratch)
        products = {name: retrieved(name, out) for name in options.models}
        found = assessed(products, out)
    print_table(found, options.models)
    print(f"{time.monotonic() - began:.0f} s")


def retrieved(name: str, out: Path) -> Path:
    """Run an experiment through its six stages; give its product of the table of rain."""
    _, experiment = load(EXAMPLE, list(MODELS[name]))
    run = Run(experiment, out / "".join(c if c.isalnum() else "-" for c in name), Silent(), base=EXAMPLE.parent)
    perform(app, run, STAGES)
    return next(run.artefact("publish").glob(f"**/{TABLE}/rain.nc"))


def assessed(products: Mapping[str, Path], out: Path) -> list[dict[str, str]]:
    """Hold all products against the radar, on one page; give the lines of its table of figures."""
    assert app.assess is not None
    content = {
        "app": "precipitation",
        "name": "Every model on one table of footprints",
        "reference": {"name": "radar", "files": f"{SOURCES}{TABLE}.npz", "label_source": "dpr"},
        "products": [
            {"name": name, "files": str(path), "distribution": "members" if name in GENERATIVE else "quantiles"}
            for name, path in products.items()
        ],
    }
    page = app.assess.perform(AssessmentSettings.model_validate(content), out, out)
    print(f"page: {page}")
    with page.with_suffix(".csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def print_table(lines: Sequence[Mapping[str, str]], names: Sequence[str]) -> None:
    """Print figures with 95 % intervals over resampled days; ratios are of samples over the radar's."""
    told = {(line["product"], line["figure"], line["at"]): line for line in lines}
    print(f"{'':34}" + "".join(f"{title:>22}" for title, _ in FIGURES.values()))
    for name in names:
        cells = [cell(told.get((name, *figure)), style) for figure, (_, style) in FIGURES.items()]
        print(f"{name:34}" + "".join(f"{text:>22}" for text in cells))


def cell(line: Mapping[str, str] | None, style: str) -> str:
    """Write a figure with its interval; 32 members say nothing of the 99 % level."""
    if line is None:
        return "-"
    value, low, high = (float(line[key]) if line[key] else float("nan") for key in ("value", "low", "high"))
    return f"{value:{style}} [{low:{style}}, {high:{style}}]"


if __name__ == "__main__":
    main()
