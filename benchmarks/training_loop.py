"""What does our training loop cost beside a bare torch loop? Same network, same batches; the bar is 10 %.

Ours adds Fabric, prefetching, averaged weights, a random state and a learning rate that depend on the step alone, a log, and
checkpoints. `python benchmarks/training_loop.py --steps 30 --size 128` prints seconds a step of both and their ratio, by the
clock and by processor time (which other programs on the machine disturb less).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from vigie.apps.glaciers.classes import LEGEND
from vigie.learn.bands import WIDTH
from vigie.learn.fit import FitSettings, Task, connect, fit
from vigie.learn.heads import ClassHead
from vigie.learn.networks import NetworkSettings, build
from vigie.learn.windows import Batch

CLASSES, BANDS, POOL = len(LEGEND.classes), 9, 4


def main() -> None:
    """Time both loops in turn and print their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32, 64, 128])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    wanted = parser.parse_args()
    pool = [random_batch(seed, wanted.batch, wanted.size) for seed in range(POOL)]
    settings = FitSettings(steps=wanted.steps, warmup_steps=5, checkpoint_every=wanted.steps)
    times: dict[str, list[Times]] = {"bare": [], "ours": []}
    for repeat in range(wanted.repeats + 1):
        for name, loop in (("bare", bare), ("ours", ours)):
            took = timed(loop, new_network(wanted.widths, wanted.device), pool, settings, wanted.device)
            if repeat:  # the first round warms up
                times[name].append(took)
    best = {name: min(t[0] for t in values) for name, values in times.items()}
    clock = {name: statistics.median(t[0] for t in values) for name, values in times.items()}
    processor = {name: statistics.median(t[1] for t in values) for name, values in times.items()}
    told = {
        "device": wanted.device,
        "seconds_per_step": {name: round(value / wanted.steps, 5) for name, value in clock.items()},
        "ratio_by_clock": round(clock["ours"] / clock["bare"], 3),
        "ratio_of_the_best": round(best["ours"] / best["bare"], 3),
        "ratio_by_processor_time": round(processor["ours"] / processor["bare"], 3),
    }
    print(json.dumps(told, indent=1))


def random_batch(seed: int, count: int, size: int) -> Batch:
    """Windows of noise."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(-1, CLASSES, (count, size, size), generator=generator)
    x, bands = torch.randn(count, BANDS, size, size, generator=generator), torch.rand(BANDS, WIDTH, generator=generator)
    return Batch(x, torch.ones(count, 2, size, size), bands, rows, torch.eye(CLASSES), (rows >= 0).float(), ("noise",) * count)


def new_network(widths: list[int], device: str) -> nn.Module:
    """Build the network that both loops train, from the same random numbers."""
    torch.manual_seed(0)
    return build(NetworkSettings(widths=tuple(widths)), CLASSES).to(device)


Times = tuple[float, float]
Loop = Callable[[nn.Module, list[Batch], FitSettings, str], None]


def timed(loop: Loop, network: nn.Module, pool: list[Batch], settings: FitSettings, device: str) -> Times:
    """Seconds that a loop takes, by the clock and by processor time."""
    start = time.perf_counter(), time.process_time()
    loop(network, pool, settings, device)
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start[0], time.process_time() - start[1]


def bare(network: nn.Module, pool: list[Batch], settings: FitSettings, device: str) -> None:
    """The shortest loop that learns the same."""
    head = ClassHead(LEGEND)
    adam = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate)
    for step in range(settings.steps):
        batch = pool[step % POOL].to(device)
        adam.zero_grad()
        head.loss(network(batch.x, batch.mask, batch.bands), batch).backward()
        nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
        adam.step()


def ours(network: nn.Module, pool: list[Batch], settings: FitSettings, device: str) -> None:
    """`vigie.learn.fit.fit`."""
    with tempfile.TemporaryDirectory() as folder:
        task = Task(network, ClassHead(LEGEND).loss, lambda step: pool[step % POOL])
        fit(task, settings, Path(folder), connect(settings, device))


if __name__ == "__main__":
    main()
