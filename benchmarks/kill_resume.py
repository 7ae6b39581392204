"""Runs killed at random moments: do they go on, and end with the bytes of an unbroken one?

`python benchmarks/kill_resume.py --kills 10` runs a small experiment on the synthetic Earth once without a break. Then it
starts the same experiment again and again, kills the process by SIGKILL after a random time, starts it anew until it ends, and
compares every file with those of the unbroken run; a run that ends before its kill is compared, too, and the next begins from
nothing. Last it runs the experiment on a Dask cluster whose workers are killed one after another. It prints the kills, the
stages they hit, the files that differ (there must be none), and the drafts that killed processes left behind; it ends with 1 if
any file differs.

Left out of the comparison is what tells the time: the notes of stages, training logs, the report, and the creation date in the
products' metadata (of rasters the pixels are compared).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil
import rasterio

from vigie.story.run import STAGES
from vigie.synthetic.files import sensor_file, write_multispectral
from vigie.synthetic.glaciers import Area

EXPERIMENT = """
app = "glaciers"
name = "killed"
[[acquire.sources]]
images = "images/synthetic_*.tif"
sensor = "synthetic-multispectral.toml"
truth = "images/truth_*.tif"
legend = "classes"
[harmonize]
tile = 64
chunk = 32
[train]
folds = { by = "scene" }
network = { name = "unet-groupnorm", widths = [8, 16], stem_channels = 8 }
windows = { size = 32, batch = 4 }
fit = { steps = 30, warmup_steps = 1, checkpoint_every = 5 }
[predict]
patch = 64
overlap = 32
lines = 32
[verify]
bootstrap = 20
"""
TELLS_THE_TIME = (".stages/", "training.jsonl", "report.html", "prediction.nc", ".json")
"""Ends or parts of the names of files that hold dates or seconds; `.json` of the cube and the prediction is compared."""


def main() -> None:
    """Kill and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--worker-kills", type=int, default=3)
    parser.add_argument("--size", type=int, default=160, help="side of the two scenes, pixels")
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_experiment(folder, wanted.size)
        begin = time.monotonic()
        start(folder, "whole").wait()
        seconds = time.monotonic() - begin
        expected = contents(folder / "whole")
        print(json.dumps({"files_compared": len(expected), "unbroken_seconds": round(seconds, 1)}))
        results = {"processes": killed_processes(folder, wanted, seconds, expected)}
        print(json.dumps(results, indent=1), flush=True)
        results |= {"dask_workers": killed_workers(folder, wanted, seconds, expected)}
        print(json.dumps(results["dask_workers"], indent=1))
    sys.exit(any(result["files_that_differ"] for result in results.values()))


def write_experiment(folder: Path, size: int) -> None:
    """Write two scenes of the synthetic Earth and the experiment that maps them."""
    (folder / "images").mkdir()
    for name, west in (("almaz", 450_000.0), ("burhan", 480_000.0)):
        write_multispectral(folder / "images", Area(name, seed=3, size=size, west=west), "2021-08-21")
    shutil.copy(sensor_file(), folder)
    (folder / "killed.toml").write_text(EXPERIMENT, encoding="utf-8")


def start(folder: Path, out: str, *overrides: str) -> subprocess.Popen[bytes]:
    """Start `vigie run`."""
    code = "from vigie.cli import main; main()"
    command = [sys.executable, "-c", code, "run", str(folder / "killed.toml"), "--out", str(folder / out), "-q"]
    sets = [part for override in overrides for part in ("--set", override)]
    return subprocess.Popen([*command, *sets], env={**os.environ, "OMP_NUM_THREADS": "1"})


def killed_processes(folder: Path, wanted: argparse.Namespace, seconds: float, expected: dict[str, str]) -> dict[str, object]:
    """Kill the whole process, as often as asked for."""
    moments, hit, differing, finished, left = random.Random(wanted.seed), Counter[str](), set[str](), 0, 0
    while True:
        process = start(folder, "killed")
        try:
            limit = None if sum(hit.values()) == wanted.kills else moments.uniform(0.2, 1.0) * seconds
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            hit[stage_of(folder / "killed")] += 1
            continue
        if code:
            sys.exit(f"a resumed run ended with {code}")
        finished, left = finished + 1, left + drafts(folder / "killed")
        differing |= different(contents(folder / "killed"), expected)
        if sum(hit.values()) == wanted.kills:
            told = {"kills": dict(hit), "runs_that_ended": finished, "drafts_left_behind": left}
            return {**told, "files_that_differ": sorted(differing)}
        shutil.rmtree(folder / "killed")


def killed_workers(folder: Path, wanted: argparse.Namespace, seconds: float, expected: dict[str, str]) -> dict[str, object]:
    """Kill workers of the cluster of a run, one after another, while it goes on."""
    moments, hit = random.Random(wanted.seed), Counter[str]()
    process = start(folder, "dask", 'engine={kind="dask", workers=2}')
    while process.poll() is None and sum(hit.values()) < wanted.worker_kills:
        workers = [p for p in psutil.Process(process.pid).children() if "spawn_main" in " ".join(p.cmdline())]
        if workers:
            moments.choice(workers).kill()
            hit[stage_of(folder / "dask")] += 1
        time.sleep(moments.uniform(0.1, 0.5) * seconds)
    if process.wait():
        sys.exit("the run did not survive its workers")
    # The engine is named in the metadata of what it made, and nowhere else.
    found = {name: digest for name, digest in contents(folder / "dask").items() if not name.endswith("zarr.json")}
    return {"kills": dict(hit), "files_that_differ": sorted(different(found, {name: expected[name] for name in found}))}


def stage_of(out: Path) -> str:
    """Name the stage that a run is in: the first without a note of its end."""
    return next((s for s in STAGES if not (out / "killed" / ".stages" / f"{s}.json").is_file()), "after the last")


def contents(out: Path) -> dict[str, str]:
    """Hash every file that does not tell the time; of rasters the pixels."""
    found = {}
    for file in sorted(out.rglob("*")):
        name = str(file.relative_to(out))
        timeless = ".zarr/" in name or not any(part in name for part in TELLS_THE_TIME)
        if file.is_file() and timeless and not is_draft(file):
            found[name] = hashlib.sha256(pixels(file) if name.endswith(".tif") else file.read_bytes()).hexdigest()
    return found


def is_draft(path: Path) -> bool:
    """Whether a file was being written when its process was killed: Zarr's own drafts, and ours."""
    return path.name.endswith(".partial") or bool(re.match(r"\.[0-9a-f]{32}\.", path.name))


def drafts(out: Path) -> int:
    """Count the drafts that killed processes left behind."""
    return sum(is_draft(file) for file in out.rglob("*"))


def pixels(path: Path) -> bytes:
    """The pixels of a raster."""
    with rasterio.open(path) as file:
        return bytes(file.read().tobytes())


def different(found: dict[str, str], expected: dict[str, str]) -> set[str]:
    """Name files that are missing, new or different."""
    return {name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)}


if __name__ == "__main__":
    main()
