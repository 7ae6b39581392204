"""Bar 2, second half: one network for chips, Landsat 7 and film against three networks trained apart, same folds.

    python benchmarks/glaciers_joint.py --out runs/bench
    python benchmarks/glaciers_joint.py --out runs/bench --members 1 --seeds 0 1 2 3
    python benchmarks/glaciers_joint.py --out runs/bench --members 1 --seeds 0 1 --blocks 2 2

Every scene is cut into blocks (examples/glaciers-joint.toml: a west and an east half), and each block is mapped by networks
that saw only the others. The joint network takes as many steps as the three together. A figure moves by 0.01 to 0.02 with the
seed: with several seeds both ways of training are repeated, and the difference is printed with its standard error.
"""

from __future__ import annotations

import argparse
from math import sqrt
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.console import Console
from rich.table import Table

from vigie.story.app import perform
from vigie.story.compare import groups, read_group
from vigie.story.reading import load, validate
from vigie.story.run import Run
from vigie.verify.scores import OURS

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "glaciers-joint.toml"
STAGES = ("acquire", "harmonize", "train", "predict", "verify")

MEAN = "mean of classes"

Scores = dict[tuple[str, str], float]
"""IoU by label legend and label, and the mean over its labels."""


def measured(content: dict[str, Any], out: Path) -> Scores:
    """Run an experiment up to its scores."""
    app, experiment = validate(content, str(EXAMPLE))
    run = Run(experiment, out / experiment.name, base=EXAMPLE.parent)
    perform(app, run, STAGES)
    iou = {legend: read_group(run.artefact("verify"), legend)["iou"].sel(model=OURS) for legend in groups(run.folder)}
    by_class = {(legend, str(label)): float(of.sel(label=label)) for legend, of in iou.items() for label in of["label"].values}
    return by_class | {(legend, MEAN): float(of.mean("label")) for legend, of in iou.items()}


def recipe(seed: int, members: int, blocks: list[int]) -> dict[str, Any]:
    """Read the example for a seed, a number of members and a cut."""
    _, whole = load(EXAMPLE, ("train.final=false", f"seed={seed}", f"train.members={members}", f"train.folds.blocks={blocks}"))
    content = whole.model_dump(mode="json", exclude_none=True)
    content["name"] = f"joint-{blocks[0]}x{blocks[1]}-{members}-seed-{seed}"
    return content


def apart(content: dict[str, Any], number: int) -> dict[str, Any]:
    """Change the recipe to train on one source, with a third of the steps."""
    source = content["acquire"]["sources"][number]
    windows, fit = content["train"]["windows"] | {"shares": {}}, dict(content["train"]["fit"])
    fit["steps"] //= 3
    fit["warmup_steps"] //= 3
    train = content["train"] | {"windows": windows, "fit": fit}
    return content | {"acquire": {"sources": [source]}, "train": train, "name": f"{content['name']}-only-{source['sensor']}"}


def main() -> None:
    """Print IoU of every class of every label legend, joint and apart."""
    parser = argparse.ArgumentParser(description="Bar 2: joint against apart.")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    parser.add_argument("--members", type=int, default=3, help="members of every model")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--blocks", type=int, nargs=2, default=[1, 2], help="rows and columns of the cut")
    wanted = parser.parse_args()
    together: list[Scores] = []
    alone: list[Scores] = []
    for seed in wanted.seeds:
        content = recipe(seed, wanted.members, wanted.blocks)
        together.append(measured(content, wanted.out))
        alone.append({})
        for number in range(len(content["acquire"]["sources"])):
            alone[-1] |= measured(apart(content, number), wanted.out)
        Console(width=140).print(table(together, alone, wanted))


def table(together: list[Scores], alone: list[Scores], wanted: argparse.Namespace) -> Table:
    """Put means over seeds side by side, and their difference with its standard error."""
    rows, columns = wanted.blocks
    title = f"One network for three sensors: IoU, blocks {rows} x {columns}, members {wanted.members}, seeds {len(alone)}"
    made = Table("labels", "class", "joint", "apart", "difference", title=title)
    for legend, label in alone[0]:
        a, j = ([scores[legend, label] for scores in way] for way in (alone, together))
        differences = [one - other for one, other in zip(j, a, strict=True)]
        error = f" ± {stdev(differences) / sqrt(len(differences)):.3f}" if len(differences) > 1 else ""
        made.add_row(legend, label, f"{mean(j):.3f}", f"{mean(a):.3f}", f"{mean(differences):+.3f}{error}")
    return made


if __name__ == "__main__":
    main()
