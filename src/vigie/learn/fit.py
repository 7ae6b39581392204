"""The training loop: Lightning Fabric for devices and precision, and a killed run that resumes and ends with the same bytes.

Everything random is a function of seed and step, so is the learning rate; checkpoints hold the rest: weights, the optimiser's
moments, averaged weights, the best weights so far.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import cos, isfinite, pi
from pathlib import Path
from typing import Generic, Literal, Protocol, Self, TypeVar

import torch
from lightning.fabric import Fabric
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from vigie.core.errors import VigieError
from vigie.core.store import disk, write_text
from vigie.learn import checkpoint
from vigie.learn.checkpoint import Weights, copied, copy_into, wearing
from vigie.learn.windows import prefetch


class Samples(Protocol):
    """A batch: what the network is shown, x (N, B, H, W), mask (N, 2, H, W) and bands (B, D), where each sample comes from, and
    whatever truth the loss compares it with."""

    @property
    def x(self) -> Tensor:
        """Standardised bands."""
        ...

    @property
    def mask(self) -> Tensor:
        """Where there is data, and what is saturated."""
        ...

    @property
    def bands(self) -> Tensor:
        """Descriptions of the bands."""
        ...

    @property
    def scenes(self) -> tuple[str, ...]:
        """Where each sample comes from."""
        ...

    def to(self, device: torch.device | str) -> Self:
        """Copy the tensors to a device, images channels-last."""
        ...

    def pinned(self) -> Self:
        """Page-lock the tensors, so that copies to a GPU overlap with its work."""
        ...


B = TypeVar("B", bound=Samples)

Loss = Callable[[Tensor, B, float], Tensor]
"""loss(raw output (N, C, H, W), batch, progress from 0 at the start to 1 at the end) -> scalar: that of a head."""

Report = Callable[[Mapping[str, float]], None]
"""Is told step, loss, lr, samples_per_s, and score where there is one, every `log_every` steps."""

LOG = "training.jsonl"


class FitSettings(BaseModel):
    """How a network is trained.

    The schedule 'cosine' falls to 0; 'one-cycle' rises from learning_rate / 25 and falls to learning_rate / 1e4, along cosines.

    Examples
    --------
    >>> settings = FitSettings(steps=100, warmup_steps=10, learning_rate=1.0)
    >>> [round(settings.rate(step), 3) for step in (0, 9, 10, 55, 99)]
    [0.1, 1.0, 1.0, 0.5, 0.0]
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(default=2000, ge=1, description="steps of the training")
    learning_rate: float = Field(default=1e-3, gt=0, description="largest learning rate")
    weight_decay: float = Field(default=1e-2, ge=0, description="weight decay of AdamW")
    schedule: Literal["cosine", "one-cycle", "constant"] = Field(
        default="cosine",
        description="learning rate after the warm-up: half a 'cosine', 'one-cycle' (Smith & Topin 2019), or 'constant'",
    )
    warmup_steps: int = Field(default=100, ge=0, description="steps over which the learning rate rises")
    average: float = Field(
        default=0.99, ge=0, lt=1, description="decay of the moving average of the weights, which is what is kept; 0: none"
    )
    clip_norm: float = Field(default=1.0, gt=0, description="largest norm of the gradient")
    precision: Literal["32-true", "bf16-mixed", "auto"] = Field(
        default="32-true",
        description="arithmetic of the training: 'auto' takes 'bf16-mixed' where the processor has it, else '32-true'",
    )
    devices: int = Field(default=1, ge=1, description="GPUs that train together")
    validate_every: int = Field(default=200, ge=1, description="steps between validations")
    patience: int = Field(
        default=0,
        ge=0,
        description="validations without a better score before stopping; 0: never, and nothing is set aside to validate on",
    )
    checkpoint_every: int = Field(default=200, ge=1, description="steps between checkpoints, where a killed training goes on")
    log_every: int = Field(default=20, ge=1, description="steps between lines of the log")
    prefetch: int = Field(default=2, ge=0, description="batches made ahead")

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        start, end = {"cosine": (0.0, 0.0), "one-cycle": (0.04, 1e-4), "constant": (0.0, 1.0)}[self.schedule]
        if step < self.warmup_steps:
            part = (step + 1) / self.warmup_steps
            shape = part if self.schedule != "one-cycle" else 0.5 - 0.5 * cos(pi * part)
            return self.learning_rate * (start + (1 - start) * shape)
        part = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * (end + (1 - end) * (0.5 + 0.5 * cos(pi * part)))


@dataclass(frozen=True)
class Task(Generic[B]):
    """What is learnt: a network, its loss, the batch of every step, and a score of the weights (higher is better).

    `batches` must be a function of the number it is given and of nothing else; on W devices, step s takes the batches s W to
    s W + W - 1. `seed` is that of dropout and the like.
    """

    network: nn.Module
    loss: Loss[B]
    batches: Callable[[int], B]
    validate: Callable[[nn.Module], float] | None = None
    seed: int = 0


@dataclass(frozen=True)
class Fitted:
    """The weights to keep (the best by validation, otherwise the averaged ones), the steps done, and the best score."""

    weights: Weights
    steps: int
    score: float | None


@dataclass
class _Progress:
    """What changes while training, apart from the network and the optimiser."""

    step: int = 0
    score: float | None = None
    stale: int = 0
    averaged: Weights = field(default_factory=dict)
    best: Weights = field(default_factory=dict)


def connect(settings: FitSettings, accelerator: str = "auto") -> Fabric:
    """Make the Fabric that the settings ask for: devices, precision, and one process a device.

    Examples
    --------
    >>> connect(FitSettings(), "cpu").device
    device(type='cpu')
    """
    on_cuda = accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available()
    precision = settings.precision
    if precision == "auto":
        precision = "bf16-mixed" if has_bf16(torch.device("cuda" if on_cuda else "cpu")) else "32-true"
    fabric = Fabric(accelerator=accelerator, devices=settings.devices, precision=precision)
    if settings.devices > 1:
        fabric.launch()
    return fabric


def has_bf16(device: torch.device) -> bool:
    """Say whether a device multiplies 16-bit floats itself: one that pretends to is ten times slower than in 32 bits.

    Examples
    --------
    >>> has_bf16(torch.device("meta"))
    False
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return any(bool(able.get(name)) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def fit(task: Task[B], settings: FitSettings, folder: Path, fabric: Fabric, report: Report = lambda facts: None) -> Fitted:
    """Train a network, going on from the last checkpoint in `folder` where there is one.

    The network is left with the weights that are returned; on several devices those of the first process are the ones to keep.

    Raises
    ------
    VigieError: the loss or its gradient is not finite, or the folder holds a training with other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    devices = [fabric.device] if fabric.device.type == "cuda" else []
    with torch.random.fork_rng(devices), _reproducible(fabric.device):
        trainer = _Trainer(task, settings, folder, fabric, report)
        trainer.resume()
        trainer.run()
        return trainer.finish()


class _Trainer(Generic[B]):
    """One training: the loop and its bookkeeping."""

    def __init__(self, task: Task[B], settings: FitSettings, folder: Path, fabric: Fabric, report: Report) -> None:
        self.task, self.settings, self.folder, self.fabric, self.report = task, settings, folder, fabric, report
        self.raw = task.network.to(memory_format=torch.channels_last)
        self.optimiser = torch.optim.AdamW(_groups(self.raw, settings.weight_decay), lr=settings.learning_rate)
        self.network, self.stepper = fabric.setup(self.raw, self.optimiser)
        self.live: Weights = dict(self.raw.state_dict())
        self.progress = _Progress()
        if settings.average:
            self.progress.averaged = copied(self.live)
        self.losses: list[Tensor] = []
        self.norms: list[Tensor] = []
        self.since = (time.perf_counter(), 0)

    def run(self) -> None:
        """Step until the end, or until the score no longer rises."""
        settings, progress = self.settings, self.progress
        world, rank = self.fabric.world_size, self.fabric.global_rank
        numbers = range(progress.step, progress.step if self.stopped else settings.steps)
        batches = (self.task.batches(step * world + rank) for step in numbers)
        if self.fabric.device.type == "cuda":
            batches = (batch.pinned() for batch in batches)
        for batch in prefetch(batches, settings.prefetch):
            self.step(batch.to(self.fabric.device))
            progress.step += 1
            last = progress.step == settings.steps
            score = self.judge() if self.task.validate and (last or progress.step % settings.validate_every == 0) else None
            due = last or self.stopped or progress.step % settings.checkpoint_every == 0
            if due or score is not None or progress.step % settings.log_every == 0:
                self.log(score)
            if due:
                self.save()
            if self.stopped:
                return

    def step(self, batch: B) -> None:
        """Follow the gradient of one batch."""
        settings, step = self.settings, self.progress.step
        # Dropout and the like draw from torch's global generator: make it a function of seed, step and rank.
        torch.manual_seed(((self.task.seed * 1_000_003 + step) * 1_009 + self.fabric.global_rank) % 2**63)
        for group in self.optimiser.param_groups:
            group["lr"] = settings.rate(step)
        loss = self.task.loss(self.network(batch.x, batch.mask, batch.bands), batch, step / settings.steps)
        self.fabric.backward(loss)
        norm = self.fabric.clip_gradients(self.network, self.stepper, max_norm=settings.clip_norm, error_if_nonfinite=False)
        self.stepper.step()
        self.stepper.zero_grad(set_to_none=True)
        self.average()
        self.losses.append(loss.detach())
        self.norms.append(torch.as_tensor(norm))
        self.since = (self.since[0], self.since[1] + len(batch.scenes) * self.fabric.world_size)

    @torch.no_grad()
    def average(self) -> None:
        """Move the averaged weights towards the present ones, faster in the first steps."""
        if not self.settings.average:
            return
        decay = min(self.settings.average, (1 + self.progress.step) / (10 + self.progress.step))
        floats = [name for name, tensor in self.live.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([self.progress.averaged[n] for n in floats], [self.live[n] for n in floats], 1 - decay)
        for name in self.live.keys() - set(floats):
            self.progress.averaged[name].copy_(self.live[name])

    def judge(self) -> float:
        """Score the weights that would be kept, and keep them when they are the best so far."""
        assert self.task.validate is not None
        progress, kept = self.progress, self.kept()
        with wearing(self.raw, kept):
            score = float(self.fabric.broadcast(self.task.validate(self.raw)))
        if progress.score is None or score > progress.score:
            progress.score, progress.stale = score, 0
            progress.best = copied(kept)
        else:
            progress.stale += 1
        return score

    def kept(self) -> Weights:
        """The weights that would be kept now."""
        return self.progress.averaged or self.live

    @property
    def stopped(self) -> bool:
        """Whether the score has not risen for as long as the settings allow."""
        return 0 < self.settings.patience <= self.progress.stale

    def log(self, score: float | None) -> None:
        """Write a line of the training log, and refuse to go on from a loss or a gradient that is no number."""
        means = torch.stack([torch.stack(values).float().mean() for values in (self.losses, self.norms)])
        loss, norm = self.fabric.all_reduce(means, reduce_op="mean").tolist()
        if not (isfinite(loss) and isfinite(norm)):
            raise VigieError(
                f"training diverged near step {self.progress.step}",
                found=f"loss {loss}, norm of the gradient {norm}",
                expected="a finite loss with a finite gradient",
                do="lower train.fit.learning_rate, or raise train.fit.warmup_steps; the last checkpoint is sound",
            )
        now = time.perf_counter()
        rate = self.since[1] / max(now - self.since[0], 1e-9)
        facts = {"step": self.progress.step, "loss": loss, "lr": self.settings.rate(self.progress.step - 1)}
        facts |= {"samples_per_s": round(rate, 2)} | ({} if score is None else {"score": score})
        self.losses, self.norms, self.since = [], [], (now, 0)
        if self.fabric.is_global_zero:
            with disk(self.folder), (self.folder / LOG).open("a", encoding="utf-8") as log:
                log.write(json.dumps(facts) + "\n")
            self.report(facts)

    def save(self) -> None:
        """Write a checkpoint; on several devices the first process does."""
        progress = self.progress
        tensors = {"weights": self.live, "optimiser": checkpoint.moments(self.optimiser)}
        tensors |= {name: part for name, part in (("averaged", progress.averaged), ("best", progress.best)) if part}
        facts = {"step": progress.step, "score": progress.score, "stale": progress.stale, "settings": self.identity()}
        if self.fabric.is_global_zero:
            checkpoint.save(self.folder, progress.step, tensors, facts)
        self.fabric.barrier()

    def resume(self) -> None:
        """Go back to the last checkpoint, if there is one."""
        if self.fabric.is_global_zero:
            checkpoint.clear_drafts(self.folder)
        found = checkpoint.latest(self.folder)
        if found is None:
            self.trim(0)
            return
        tensors, facts = found
        if facts["settings"] != self.identity():
            changed = {k: (v, self.identity().get(k)) for k, v in facts["settings"].items() if v != self.identity().get(k)}
            raise VigieError(
                f"{self.folder} holds a training with other settings",
                found=f"(then, now): {changed}",
                expected="the same settings",
                do="take the settings back, or train into a new folder",
            )
        copy_into(self.live, tensors["weights"], "the checkpoint's weights")
        checkpoint.restore_moments(self.optimiser, tensors["optimiser"])
        self.progress = _Progress(facts["step"], facts["score"], facts["stale"])
        for name in ("averaged", "best"):
            if name in tensors:
                like = copied(self.live)
                copy_into(like, tensors[name], f"the checkpoint's {name} weights")
                setattr(self.progress, name, like)
        self.trim(facts["step"])

    def trim(self, step: int) -> None:
        """Take from the log what was done after the checkpoint: it will be done again."""
        path = self.folder / LOG
        if self.fabric.is_global_zero and path.is_file():
            lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
            write_text(path, "".join(f"{line}\n" for line in lines if json.loads(line)["step"] <= step))

    def identity(self) -> dict[str, object]:
        """The settings that shape the result; how often is logged or read ahead does not."""
        kept = self.settings.model_dump(exclude={"log_every", "prefetch", "checkpoint_every"})
        return kept | {"world": self.fabric.world_size, "seed": self.task.seed}

    def finish(self) -> Fitted:
        """Leave the network with the weights to keep."""
        weights = copied(self.progress.best or self.kept())
        copy_into(self.live, weights, "the final weights")
        return Fitted(weights, self.progress.step, self.progress.score)


def _groups(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Decay weights of convolutions and linear maps, not biases and norms."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    decayed = [p for p in parameters if p.ndim > 1]
    rest = [p for p in parameters if p.ndim <= 1]
    return [{"params": p, "weight_decay": d} for p, d in ((decayed, weight_decay), (rest, 0.0)) if p]


@contextmanager
def _reproducible(device: torch.device) -> Iterator[None]:
    """Choose deterministic GPU kernels, with a warning where there is none; CPU kernels are deterministic already."""
    before, warn = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    if device.type == "cuda":
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn)
        torch.backends.cudnn.benchmark = benchmark
