"""`vigie assess` of precipitation: assess, then write three files, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vigie.acquire.files import digests, local_path
from vigie.acquire.sources import expand
from vigie.apps.precipitation.assess.page import report_of
from vigie.apps.precipitation.assess.protocol import assessed
from vigie.apps.precipitation.assess.settings import AssessmentSettings, RecordSettings
from vigie.apps.precipitation.assess.writing import write_figures, write_table
from vigie.core.store import check_folder
from vigie.publish.provenance import provenance
from vigie.publish.report import write_report

FIGURES, TABLE, PAGE = "assessment.nc", "assessment.csv", "assessment.html"


def assess(settings: AssessmentSettings, base: Path, out: Path) -> Path:
    """Hold products against the reference, and leave figures, table and page in a folder; give the page.

    Parameters
    ----------
    settings: the assessment.
    base: the folder that relative paths start from.
    out: the folder for the three files.

    Raises
    ------
    VigieError: see `assessed`; the folder cannot be made, or the disk is full.
    """
    import tomli_w

    check_folder(out)
    found = assessed(settings, base)
    record = provenance(settings.model_dump_json(), created=datetime.now(UTC)) | {"inputs": list(_inputs(settings, base))}
    toml = tomli_w.dumps(settings.model_dump(mode="json", exclude_none=True))
    page = report_of(found, settings, toml, record)
    write_figures(out / FIGURES, found, record)
    write_table(out / TABLE, found)
    write_report(page, out / PAGE)
    return out / PAGE


def _inputs(settings: AssessmentSettings, base: Path) -> Iterator[dict[str, Any]]:
    """Record the files of every product, with their digests."""
    records: list[RecordSettings] = [settings.reference, *settings.products]
    for one in records:
        hrefs = [path.as_posix() for pattern in one.files for path in expand(pattern, base)]
        sums = {Path(local_path(href) or href).name: digest for href, digest in digests(hrefs).items()}
        yield {"id": one.name, "sensor": "", "datetime": "", "licence": "", "sha256": sums}
