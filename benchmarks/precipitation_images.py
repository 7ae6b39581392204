"""Bar 4, images: members of generative retrievals beside the quantile U-Net, on synthetic orbits whose rain is known.

    python benchmarks/precipitation_images.py --out runs/bench/images
    python benchmarks/precipitation_images.py --out runs/bench/images-gpu --orbits 400 --steps 40000 --reference-steps 20000 \\
        --widths 64 128 256 512 --size 64 --batch 32 --tests 40

Scenes are those of `precipitation_scenes.py`, in which channels tell as little of rain as GMI's do of a radar's; networks see
those of DRAIN, 37 and 89 GHz. Three retrievals learn from the same orbits: `reference`, a quantile U-Net; `direct`, members
generated from brightness temperatures; and `residual`, members generated around a quantile U-Net that learnt from half of the
orbits, as what it leaves on the other half. They are held against the rain of orbits that none saw, and of half of those orbits
in a climate 4 K warmer. Settings are chosen with `--scored validation`, on other orbits than those of the test. Orbits and
trained networks stay in `--out`: a killed run goes on. Leaves with exit code 1 when the bar is missed in today's climate.

What is printed, on windows of 32 x 32 pixels (4.5 km across the track, 13.5 km along it):

- power: that of the field's cosine coefficients over that of the truth, at a wavelength in pixels; slope: of ln power on ln
  wavenumber, 4 to 32 pixels;
- sharp to: the shortest wavelength down to which power stays within 0.7 to 1.4 of the truth's;
- coherent to: the shortest wavelength down to which the coherence with the truth exceeds sqrt(1/2), SatRain's effective
  resolution; members are pooled, each against the truth;
- both to: the shortest wavelength down to which both hold.

Fineness is compared on resampled orbits, ours and the reference's alike: LEVEL is said of what nine tenths of them do not tell
from chance. It is not met.

In theory the mean of the true distribution is the most coherent field there is: where its coherence is R, its power is R^2 of
the truth's, while a member has the truth's power and coherence R^2. So coherence is compared between means (no distribution
can do better than the true one's), sharpness between single fields, and both together for whoever wants one field for both.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from precipitation_scenes import DRAIN, observe_loosely
from precipitation_textures import Texture, coherence_table, field_table, member_table, tail_table, texture, verdicts
from rich.console import Console
from torch import nn

from vigie.learn import retrieval
from vigie.learn.fit import FitSettings, Loss, Task, connect, fit
from vigie.learn.generative.noise import noise_at
from vigie.learn.generative.rain import fit_rain_transform
from vigie.learn.generative.retrieval import GenerativeRetrieval
from vigie.learn.generative.settings import GenerativeSettings
from vigie.learn.generative.teaching import RainLearner, taught, with_residual
from vigie.learn.rain_heads.settings import RainHeadSettings
from vigie.learn.rain_heads.settings import build as head_of
from vigie.learn.retrieval import RetrievalSettings
from vigie.learn.retrieval_inputs import Inputs
from vigie.learn.retrieval_model import Member, RetrievalModel
from vigie.learn.swaths import (
    ChannelScaling,
    Footprints,
    RainBatch,
    SwathSource,
    SwathWindowSettings,
    answerable,
    footprints,
    measure,
    standardised,
)
from vigie.synthetic.orbit import write_orbits
from vigie.synthetic.rain import Climate
from vigie.verify.quantiles import draw

Floats = NDArray[np.float32]

Batches = Callable[[int], RainBatch]
"""Step -> its batch."""

Maker = Callable[[xr.Dataset, int], dict[str, Floats]]
"""(orbit, seed) -> fields (member, scan, pixel) mm h-1, by kind."""

LEVELS = tuple(k / 100 for k in range(1, 100))
WARMING_K = 4.0

SEEDS_APART = 1000
"""Orbits that `vigie.synthetic.orbit.write_orbits` draws of one seed before it comes to those of the next."""

SCORED: dict[str, Callable[[int], int]] = {
    "validation": lambda seed: 2 * seed + 1,
    "test": lambda seed: 2 * (seed + 50_000) + 1,
}
"""Seeds of the orbits that choices are made on, and of those that are looked at once they are made."""

AT_ONCE = {"cpu": 4, "cuda": 64}
"""Members of an orbit that a network sees at once: on a CPU a few stay in its cache."""

DROPPED = 0.1
"""Probability that a channel is missing from half of the batches of a generative network: unlike the reference it is not told
what channels are, and a tenth of each orbit lacks one."""


def main() -> int:
    """Learn, generate, score and print; exit code 1 where the bar is missed."""
    wanted, console = arguments(), Console(width=150)
    console.print(f"python benchmarks/precipitation_images.py {' '.join(sys.argv[1:])}  ({time.strftime('%Y-%m-%d')})")
    lesson = Lesson(wanted, swaths(wanted.out, wanted.orbits, 2 * wanted.seed, Climate()))
    makers = retrievals(lesson)
    said: list[tuple[str, str]] = []
    for warming_k in (0.0, WARMING_K):
        count = -(-wanted.tests // 2) if warming_k else wanted.tests
        tests = swaths(wanted.out, count, SCORED[wanted.scored](wanted.seed), Climate(warming_k=warming_k))
        found = scored(makers, tests)
        title = f"{warming_k:g} K warmer" if warming_k else "today's climate"
        console.print(
            field_table(found, title), coherence_table(found, title), tail_table(found, title), member_table(found, title)
        )
        if not warming_k:
            for way in wanted.ways:
                said += verdicts(way, found[f"{way}: members"], found[f"{way}: mean"], found["reference: mean"])
    for line, outcome in said:
        console.print(f"{outcome:5} {line}", highlight=False, soft_wrap=True)
    return 0 if all(outcome == "met" for _, outcome in said) else 1


def scored(makers: Mapping[str, Maker], orbits: Sequence[xr.Dataset]) -> dict[str, Texture]:
    """Score every kind of field of every retrieval: 'reference: mean' and so on."""
    truth = [orbit["truth"].values for orbit in orbits]
    found = {}
    for name, make in makers.items():
        kinds = [make(orbit, number) for number, orbit in enumerate(orbits)]
        found |= {f"{name}: {kind}": texture([fields[kind] for fields in kinds], truth) for kind in kinds[0]}
    return found


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description="Bar 4: generative members beside the quantile U-Net.")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/images"))
    parser.add_argument("--orbits", type=int, default=128, help="orbits that are learnt from")
    parser.add_argument("--tests", type=int, default=8, help="orbits that are scored")
    parser.add_argument("--scored", choices=tuple(SCORED), default="test", help="orbits to choose settings on, or the test's")
    parser.add_argument("--members", type=int, default=32)
    parser.add_argument("--steps", type=int, default=5000, help="of the training of each generative network")
    parser.add_argument("--reference-steps", type=int, default=1200, help="of the training of each quantile U-Net")
    parser.add_argument("--sampling-steps", type=int, default=6, help="from noise to a member")
    parser.add_argument("--generator", choices=("flow", "diffusion"), default="flow")
    parser.add_argument("--channels", choices=("drain", "all"), default="drain", help="37 and 89 GHz, V and H, or all")
    parser.add_argument("--scale", type=float, default=0.1, help="mm/h where the transform of rain turns logarithmic")
    parser.add_argument("--ways", choices=("direct", "residual"), nargs="+", default=["direct", "residual"])
    parser.add_argument("--size", type=int, default=32, help="side of the crops, pixels")
    parser.add_argument("--batch", type=int, default=16, help="crops a step")
    parser.add_argument("--widths", type=int, nargs="+", default=[24, 48, 96])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    wanted = parser.parse_args()
    if wanted.orbits > SEEDS_APART:
        parser.error(f"--orbits {wanted.orbits}: beyond {SEEDS_APART} learning and test orbits would share weather")
    return wanted


def swaths(out: Path, count: int, seed: int, climate: Climate) -> list[xr.Dataset]:
    """Synthetic orbits, drawn once; the same seed gives the same weather in every climate."""
    folder = out / f"orbits-{seed}-{count}-{climate.warming_k:g}K"
    paths = sorted(folder.glob("*.nc"))
    if len(paths) < count:
        paths = write_orbits(folder, count, seed, climate, observe_loosely)
    return [xr.load_dataset(path, engine="h5netcdf") for path in paths]


@dataclass
class Lesson:
    """What is learnt from, and how."""

    wanted: argparse.Namespace
    orbits: Sequence[xr.Dataset]
    parts: list[Footprints] = field(init=False)
    scaling: ChannelScaling = field(init=False)

    def __post_init__(self) -> None:
        """Take all channels of the orbits."""
        self.inputs = Inputs(DRAIN if self.wanted.channels == "drain" else tuple(map(str, self.orbits[0]["channel"].values)))
        nowhere = np.zeros(self.orbits[0]["truth"].shape, dtype=np.int16)
        self.parts = [footprints(orbit, self.inputs, nowhere) for orbit in self.orbits]
        self.scaling = measure(self.parts, answerable)

    def source(self, parts: Sequence[Footprints], drop_channels: float = 0.0) -> SwathSource:
        """Crops of some orbits."""
        windows = SwathWindowSettings(size=self.wanted.size, batch=self.wanted.batch, drop_channels=drop_channels)
        return SwathSource(parts, answerable, self.scaling, windows, self.wanted.seed)

    def fit(self, name: str, network: nn.Module, loss: Loss[RainBatch], batches: Batches, steps: int) -> None:
        """Train a network, or take it as it was trained before."""
        settings = FitSettings(
            steps=steps, learning_rate=2e-3, warmup_steps=50, average=0.998, log_every=100, checkpoint_every=500
        )
        start, task = time.process_time(), Task(network, loss, batches, None, self.wanted.seed)
        fit(task, settings, self.wanted.out / name, connect(settings, self.wanted.device))
        network.eval().requires_grad_(False)
        Console().print(f"learnt {name}: {time.process_time() - start:.0f} s of processor time")


def retrievals(lesson: Lesson) -> dict[str, Maker]:
    """Train everything; give what makes fields of an orbit, by the name of the retrieval."""
    wanted = lesson.wanted
    made: dict[str, Maker] = {"reference": partial(reference_fields, quantile_unet(lesson, "reference", lesson.parts), wanted)}
    return made | {way: partial(generated_fields, WAYS[way](lesson), wanted) for way in wanted.ways}


def quantile_unet(lesson: Lesson, name: str, parts: Sequence[Footprints]) -> RetrievalModel:
    """The reference: 99 quantiles, pinball loss."""
    settings, head_settings = RetrievalSettings(name="unet", widths=tuple(lesson.wanted.widths)), RainHeadSettings()
    head = head_of(head_settings)
    torch.manual_seed(lesson.wanted.seed)
    network = retrieval.build(settings, head.channels)
    loss = lambda raw, batch, progress: head.loss(raw, batch.y, batch.weight)  # noqa: E731
    lesson.fit(name, network, loss, lesson.source(parts).batch, lesson.wanted.reference_steps)
    return RetrievalModel([Member(network, settings, head_settings)], lesson.inputs, lesson.scaling)


def direct(lesson: Lesson) -> GenerativeRetrieval:
    """Members from brightness temperatures alone, learnt from all orbits."""
    return generative(lesson, "direct", blank(lesson, None), lesson.parts)


def residual(lesson: Lesson) -> GenerativeRetrieval:
    """Members around a reference of the even orbits, learnt from the odd ones, on which it errs as it will elsewhere."""
    reference = quantile_unet(lesson, "half-reference", lesson.parts[::2])
    others = lesson.source(lesson.parts[1::2])
    model = with_residual(blank(lesson, reference), (others.batch(step).to(lesson.wanted.device) for step in range(40)))
    return generative(lesson, "residual", model, lesson.parts[1::2])


WAYS: dict[str, Callable[[Lesson], GenerativeRetrieval]] = {"direct": direct, "residual": residual}


def blank(lesson: Lesson, reference: RetrievalModel | None) -> GenerativeRetrieval:
    """A model without networks."""
    wanted = lesson.wanted
    how = {"generator": wanted.generator, "steps": wanted.sampling_steps, "widths": tuple(wanted.widths)}
    settings = GenerativeSettings(**how, batch=AT_ONCE[wanted.device])
    rain = torch.from_numpy(np.concatenate([part.y.ravel() for part in lesson.parts]))
    transform = fit_rain_transform(rain, torch.Generator().manual_seed(0), scale_mm_h=wanted.scale)
    return GenerativeRetrieval([], settings, transform, lesson.inputs, lesson.parts[0].names, lesson.scaling, reference)


def generative(lesson: Lesson, name: str, model: GenerativeRetrieval, parts: Sequence[Footprints]) -> GenerativeRetrieval:
    """Train the network of a generative model."""
    torch.manual_seed(lesson.wanted.seed)
    network, source = model.blank(), lesson.source(parts, DROPPED)
    learner = RainLearner(model, network)
    name = f"{name}-{model.settings.generator}"
    lesson.fit(name, learner, lambda raw, batch, progress: raw, lambda step: taught(source.batch(step)), lesson.wanted.steps)
    model.networks = [network]
    return model


def shown(
    orbit: xr.Dataset, model: RetrievalModel | GenerativeRetrieval, device: str
) -> tuple[torch.Tensor, tuple[str, ...], torch.Tensor]:
    """A whole orbit as the networks see it: columns (1, B, scan, pixel), their names and descriptors."""
    table = model.inputs.of(orbit)
    x = standardised(table.x, table.names, model.scaling).movedim(-1, 0)[None]
    return x.to(device), table.names, table.bands.to(device)


def reference_fields(model: RetrievalModel, wanted: argparse.Namespace, orbit: xr.Dataset, seed: int) -> dict[str, Floats]:
    """The reference's mean, and draws from its quantiles, pixel by pixel."""
    quantiles, mean = (found[0].cpu().numpy() for found in model.distribution(*shown(orbit, model, wanted.device), LEVELS))
    draws = draw(quantiles.astype(np.float64), np.array(LEVELS), wanted.members, seed)
    return {"mean": mean[None], "draws": draws.astype(np.float32)}


def generated_fields(model: GenerativeRetrieval, wanted: argparse.Namespace, orbit: xr.Dataset, seed: int) -> dict[str, Floats]:
    """Members, and their mean."""
    scans, pixels = orbit["truth"].shape
    noise = noise_at(seed, wanted.members, range(scans), range(pixels))[:, None].to(wanted.device)
    members = model.members(*shown(orbit, model, wanted.device), noise)[:, 0].cpu().numpy()
    return {"mean": members.mean(axis=0, keepdims=True), "members": members}


if __name__ == "__main__":
    sys.exit(main())
