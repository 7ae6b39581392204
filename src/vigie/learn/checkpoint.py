"""Checkpoints of a training: all that must be known to go on as if nothing had happened, in files that cannot run code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialized
from torch import Tensor, nn

from vigie.core.errors import VigieError
from vigie.core.store import whole_folder

Weights = dict[str, Tensor]
"""Tensors by the names of a module's `state_dict`."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors to a safetensors file, from any device and memory layout."""
    # Not `save_file`: it reports a full disk as an error of its own.
    path.write_bytes(serialized({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))


def read_tensors(path: Path) -> Weights:
    """Read a safetensors file, with an error that says so when it is missing or broken."""
    try:
        tensors: Weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise VigieError(
            f"weights cannot be read: {path}",
            found=error,
            expected="a whole safetensors file",
            do="copy the file again, or train again",
        ) from error
    return tensors


def copy_into(target: Mapping[str, Tensor], source: Mapping[str, Tensor], what: str) -> None:
    """Copy tensors in place, keeping the target's device and memory layout; names and shapes must agree."""
    shapes = [{name: tuple(tensor.shape) for name, tensor in tensors.items()} for tensors in (target, source)]
    wrong = sorted(name for name in {*target, *source} if shapes[0].get(name) != shapes[1].get(name))
    if wrong:
        raise VigieError(
            f"{what} do not fit the network",
            found=f"{len(wrong)} tensors that are missing, unknown or of another shape, first '{wrong[0]}'",
            expected=f"the {len(target)} tensors of the network",
            do="use the network settings and the legend that the weights were trained with",
        )
    with torch.no_grad():
        for name, tensor in target.items():
            tensor.copy_(source[name])


def copied(weights: Mapping[str, Tensor]) -> Weights:
    """Copy weights, so that training on does not change them."""
    return {name: tensor.detach().clone() for name, tensor in weights.items()}


@contextmanager
def wearing(network: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Give a network other weights and evaluation mode for a while.

    Examples
    --------
    >>> line = nn.Linear(1, 1)
    >>> with wearing(line, {"weight": torch.ones(1, 1), "bias": torch.zeros(1)}):
    ...     float(line(torch.ones(1)))
    1.0
    """
    own, training = copied(network.state_dict()), network.training
    copy_into(network.state_dict(), weights, "other weights")
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        network.train(training)
        copy_into(network.state_dict(), own, "own weights")


def moments(optimiser: torch.optim.Optimizer) -> Weights:
    """Collect an optimiser's state as tensors named '<parameter>.<key>'."""
    states: Mapping[int, Mapping[str, Any]] = optimiser.state_dict()["state"]
    return {f"{number}.{key}": torch.as_tensor(value) for number, state in states.items() for key, value in state.items()}


def restore_moments(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `moments` collected, in the memory layout of the parameters."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for name, stored in tensors.items():
        number, key = name.split(".", 1)
        parameter = parameters[int(number)]
        like = torch.empty_like(parameter) if stored.shape == parameter.shape else torch.empty_like(stored)
        optimiser.state[parameter][key] = like.copy_(stored)


def save(folder: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], facts: Mapping[str, object]) -> None:
    """Write the checkpoint of a step, whole or not at all, then remove the older ones."""
    target = folder / f"step-{step:08d}"
    with whole_folder(target) as draft:
        for name, group in tensors.items():
            write_tensors(draft / f"{name}.safetensors", group)
        (draft / "state.json").write_text(json.dumps(facts, sort_keys=True, indent=1), encoding="utf-8")
    _remove(path for path in folder.glob("step-*") if path.name < target.name)


def latest(folder: Path) -> tuple[dict[str, Weights], dict[str, Any]] | None:
    """Read the newest checkpoint, or None."""
    found = sorted(folder.glob("step-*"))
    if not found:
        return None
    tensors = {path.stem: read_tensors(path) for path in sorted(found[-1].glob("*.safetensors"))}
    facts: dict[str, Any] = json.loads((found[-1] / "state.json").read_text(encoding="utf-8"))
    return tensors, facts


def clear_drafts(folder: Path) -> None:
    """Remove the checkpoints that a killed run had not finished."""
    _remove(folder.glob(".*.step-*"))


def _remove(folders: Iterable[Path]) -> None:
    for folder in list(folders):
        shutil.rmtree(folder)
