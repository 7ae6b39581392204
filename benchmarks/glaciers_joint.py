"""Bar 2, second half: one network for chips, Landsat 7 and film against three networks trained apart, same folds.

    python benchmarks/glaciers_joint.py --out runs/bench

Every scene is cut into halves (examples/glaciers-joint.toml). The joint network takes as many steps as the three together.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from vigie.story.app import perform
from vigie.story.compare import groups, read_group
from vigie.story.reading import load, validate
from vigie.story.run import Run
from vigie.verify.scores import OURS

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "glaciers-joint.toml"
STAGES = ("acquire", "harmonize", "train", "predict", "verify")


def run_joint(out: Path) -> Run:
    """Train on all sources."""
    app, experiment = load(EXAMPLE, ("name=joint-all", "train.final=false"))
    run = Run(experiment, out / "joint-all", base=EXAMPLE.parent)
    perform(app, run, STAGES)
    return run


def run_apart(out: Path, number: int) -> Run:
    """Train on one source, with a third of the steps."""
    _, whole = load(EXAMPLE, ("train.final=false",))
    content = whole.model_dump(mode="json", exclude_none=True)
    source = content["acquire"]["sources"][number]
    content["acquire"]["sources"] = [source]
    content["name"] = f"joint-only-{source['sensor']}"
    content["train"]["windows"]["shares"] = {}
    content["train"]["fit"]["steps"] //= 3
    content["train"]["fit"]["warmup_steps"] //= 3
    app, experiment = validate(content, str(EXAMPLE))
    run = Run(experiment, out / experiment.name, base=EXAMPLE.parent)
    perform(app, run, STAGES)
    return run


def main() -> None:
    """Print IoU of every class of every label legend, joint and apart."""
    parser = argparse.ArgumentParser(description="Bar 2: joint against apart.")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    out: Path = parser.parse_args().out
    joint = run_joint(out)
    table = Table(
        "labels", "class", "joint", "apart", "difference", title="One network for three sensors: IoU over held-out halves"
    )
    for number in range(3):
        apart = run_apart(out, number)
        (legend,) = groups(apart.folder)
        alone = read_group(apart.artefact("verify"), legend)["iou"].sel(model=OURS)
        together = read_group(joint.artefact("verify"), legend)["iou"].sel(model=OURS)
        for label in alone["label"].values.tolist():
            a, j = float(alone.sel(label=label)), float(together.sel(label=label))
            table.add_row(legend, label, f"{j:.3f}", f"{a:.3f}", f"{j - a:+.3f}")
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
