"""Model folders: weights in one file a member, and a card that lists what they are and the sha256 of each.

Nothing that runs code is loaded: weights are safetensors, the card is JSON.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from torch import nn

from vigie.core.errors import VigieError
from vigie.learn.checkpoint import write_tensors


def write_members(folder: Path, members: Sequence[nn.Module]) -> dict[str, dict[str, Any]]:
    """Write the weights of every member; give the sha256 and the number of parameters by the name of its file."""
    written = {}
    for number, member in enumerate(members):
        path = folder / f"member-{number:02d}.safetensors"
        write_tensors(path, member.state_dict())
        parameters = sum(tensor.numel() for tensor in member.state_dict().values())
        written[path.name] = {"sha256": _sha256(path), "parameters": parameters}
    return written


def check_files(folder: Path, card: Mapping[str, Any]) -> None:
    """Refuse a model whose weights are missing, truncated, or others than its card lists."""
    for name, member in card["members"].items():
        _verify(folder / name, member["sha256"])


def read_card(folder: Path, format_: int, needed: Collection[str]) -> dict[str, Any]:
    """Read a model's card.json, which must be of a format and hold what is needed.

    Raises
    ------
    VigieError: it is missing, no card, of another format, or names weights without a sha256 or outside the folder.
    """
    path = folder / "card.json"
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise no_card(path, error) from error
    missing = {"format", "members", *needed} - set(card)
    if missing:
        raise no_card(path, f"no {', '.join(sorted(missing))}")
    if card["format"] != format_:
        raise VigieError(
            f"the model in {folder} is of another version of vigie",
            found=f"format {card['format']}, written by vigie {card.get('vigie', 'of unknown version')}",
            expected=f"format {format_}",
            do="train it again with this version, or use the version that trained it",
        )
    if not card["members"]:
        raise no_card(path, "no member")
    outside = [name for name in card["members"] if Path(name).name != name]
    if outside:
        raise no_card(path, f"a member that names a file outside the folder, '{outside[0]}'")
    bare = [name for name, member in card["members"].items() if not {"sha256", "network"} <= set(member)]
    if bare:
        raise no_card(path, f"no sha256 or network of '{bare[0]}'")
    return card


def no_card(path: Path, found: object) -> VigieError:
    """Say that a file is not the card of a model."""
    return VigieError(
        f"{path} is not the card of a model",
        found=found,
        expected="a card written by `vigie run`",
        do="copy the whole model folder again, or train again",
    )


def told(value: object) -> list[str]:
    """A fact as Markdown lines."""
    if isinstance(value, Mapping):
        return [f"- {name}: {json.dumps(part) if isinstance(part, (dict, list)) else part}" for name, part in value.items()]
    if isinstance(value, (list, tuple)):
        return [f"- {part}" for part in value]
    return [str(value)]


def _sha256(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while part := file.read(2**20):
            digest.update(part)
    return digest.hexdigest()


def _verify(path: Path, digest: str) -> None:
    found = _sha256(path) if path.is_file() else "no such file"
    if found != digest:
        raise VigieError(
            f"weights {path} are not those of the card",
            found=found if found == "no such file" else f"sha256 {found}, {path.stat().st_size} bytes",
            expected=f"sha256 {digest}",
            do="copy the whole model folder again, or train again",
        )
