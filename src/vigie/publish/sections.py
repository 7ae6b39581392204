"""Sections that every report has: the model, where everything comes from, and how to make it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vigie.publish.report import Column, Listing, Note, Section, Table


def model_section(card: Mapping[str, Any], notes: Sequence[Note] = (), tables: Sequence[Table] = ()) -> Section:
    """Show a model card: what the model is not for, what made the maps, what it is and what it was trained on.

    Examples
    --------
    >>> model_section({"network": "U-Net", "parameters": 8_000_000}).tables[0].rows
    (('network', 'U-Net'), ('parameters', '8,000,000'))
    """
    title = "What the models share" if tables else "Model card"
    return Section("Model", tables=(*tables, _facts(title, card)), notes=tuple(notes))


def provenance_section(record: Mapping[str, Any], experiment_toml: str) -> Section:
    """Show a record of `vigie.publish.provenance`: versions, hashes, inputs with sha256 and licence, and the experiment."""
    software = record.get("software", {})
    facts = {
        "made": record.get("created"),
        "software": f"{software.get('name', '')} {software.get('version', '')}".strip(),
        "Python": software.get("python"),
        "libraries": ", ".join(f"{name} {version}" for name, version in record.get("libraries", {}).items()),
        "catalogue sha256": record.get("catalogue_sha256"),
        "model sha256": record.get("model_sha256"),
        "licence of the products": record.get("licence"),
        "scenes left out, without a clear pixel": ", ".join(record.get("left_out", [])),
    }
    inputs = record.get("inputs", [])
    tables = [_facts("Software and hashes", {name: value for name, value in facts.items() if value})]
    if inputs:
        tables.append(_inputs(inputs))
    return Section("Provenance", tables=tuple(tables), listings=(Listing("Experiment (TOML)", experiment_toml),))


SAVE_AND_RUN = "Save the experiment above as a file, then run these commands; with the same inputs they give the same numbers."


def reproduce_section(commands: Sequence[str], seconds: Mapping[str, float], text: str = SAVE_AND_RUN) -> Section:
    """Say how to make the run again, and how long each stage took.

    Examples
    --------
    >>> reproduce_section(["vigie run glaciers.toml"], {"train": 12.5}).tables[0].rows
    (('train', 12.5),)
    """
    stages = Table("Time each stage took", (Column("stage"), Column("seconds", ",.1f")), tuple(seconds.items()))
    return Section(
        "How to reproduce",
        text,
        tables=(stages,) if seconds else (),
        listings=(Listing("Commands", "\n".join(commands), folded=False),),
    )


def _facts(title: str, facts: Mapping[str, Any]) -> Table:
    written = ((name, f"{value:,}" if isinstance(value, int) else str(value)) for name, value in facts.items())
    return Table(title, (Column(""), Column("")), tuple(written))


def _inputs(inputs: Sequence[Mapping[str, Any]]) -> Table:
    """One line a file, so that each hash stands beside what it hashes."""
    columns = tuple(Column(name) for name in ("scene", "sensor", "date", "licence", "file", "sha256"))
    rows = [
        (scene["id"], scene["sensor"], scene["datetime"], scene["licence"] or None, href, digest)
        for scene in inputs
        for href, digest in (scene["sha256"] or {"": ""}).items()
    ]
    return Table(f"Inputs ({len(inputs)})", columns, tuple(rows), folded=True)
