"""A run: one experiment's folder, where every stage leaves exactly one artefact and knows whether it is up to date."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import vigie
from vigie.core.store import markers, write_text
from vigie.story.experiment import Experiment
from vigie.story.progress import Progress, Silent

STAGES = ("acquire", "harmonize", "train", "predict", "verify", "publish")

ARTEFACTS = {
    "acquire": "catalog.parquet",
    "harmonize": "cube.zarr",
    "train": "model",
    "predict": "prediction.zarr",
    "verify": "scores.nc",
    "publish": "products",
}
"""What each stage leaves in the run folder."""

DRAFT = f".{'[0-9a-f]' * 32}.*"
"""Name of a file that is being written: see `core.store.whole_file`."""

log = logging.getLogger("vigie")


@dataclass(frozen=True)
class Run:
    """An experiment and the folder its artefacts go to.

    `progress` shows long work; it is silent unless a terminal asks for it. `base` is the folder of the experiment's file, where
    relative paths start.
    """

    experiment: Experiment
    folder: Path
    progress: Progress = field(default_factory=Silent)
    base: Path = Path()

    def artefact(self, stage: str) -> Path:
        """Where a stage leaves its artefact."""
        return self.folder / ARTEFACTS[stage]

    def fingerprint(self, stage: str) -> str:
        """Hash everything a result depends on: settings of the stage and those before, input files, the code's version."""
        before = STAGES[: STAGES.index(stage) + 1]
        settings = self.experiment.model_dump(mode="json")
        own = set(STAGES) | {"app", "name", "summary", "engine", "seed"}
        content = {name: settings.get(name) for name in before} | {
            "other": {key: value for key, value in settings.items() if key not in own},
            "app": self.experiment.app,
            "seed": self.experiment.seed,
            "version": vigie.__version__,
            "inputs": self._inputs().get("digest") if stage != STAGES[0] else None,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def done(self, stage: str) -> bool:
        """Say whether the stage was finished with the same settings and inputs, and its artefact is still there."""
        note = self._note(stage)
        return (
            note.is_file()
            and json.loads(note.read_text())["fingerprint"] == self.fingerprint(stage)
            and self.artefact(stage).exists()
            and (stage != STAGES[0] or self._inputs_unchanged())
        )

    def note_inputs(self, files: Iterable[Path], digest: str) -> None:
        """Remember the files that a run works on, and the digest of what they hold: later stages depend on it."""
        stamps = {file.as_posix(): _stamp(file) for file in files}
        write_text(self.folder / ".stages" / "inputs.json", json.dumps({"digest": digest, "files": stamps}, sort_keys=True))

    def _inputs(self) -> dict[str, Any]:
        path = self.folder / ".stages" / "inputs.json"
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}

    def _inputs_unchanged(self) -> bool:
        """A file that is gone has been read: only one that is another now counts as changed."""
        files = {Path(name): stamp for name, stamp in self._inputs().get("files", {}).items()}
        return all(_stamp(file) == stamp for file, stamp in files.items() if file.exists())

    @contextmanager
    def doing(self, stage: str) -> Iterator[None]:
        """Run a stage's work inside: partial results of other settings are removed first, and the end is noted."""
        started = time.monotonic()
        self._clear_if_changed(stage)
        log.info("%s: begins in %s", stage, self.folder)
        yield
        seconds = time.monotonic() - started
        write_text(self._note(stage), json.dumps({"fingerprint": self.fingerprint(stage), "seconds": round(seconds, 2)}))
        log.info("%s: left %s after %.1f s", stage, self.artefact(stage), seconds)

    def seconds(self) -> dict[str, float]:
        """How long each finished stage took, in seconds."""
        notes = {stage: self._note(stage) for stage in STAGES}
        return {stage: json.loads(note.read_text())["seconds"] for stage, note in notes.items() if note.is_file()}

    def _note(self, stage: str) -> Path:
        return self.folder / ".stages" / f"{stage}.json"

    def _clear_if_changed(self, stage: str) -> None:
        """Half-done work is kept only when it was begun with the same settings, and is still there."""
        begun = self.folder / ".stages" / f"{stage}.begun"
        self._clear_drafts()
        if begun.is_file() and begun.read_text() == self.fingerprint(stage) and self.artefact(stage).exists():
            return
        _remove(self.artefact(stage))
        _remove(markers(self.artefact(stage)))
        for later in STAGES[STAGES.index(stage) :]:
            self._note(later).unlink(missing_ok=True)
        write_text(begun, self.fingerprint(stage))

    def _clear_drafts(self) -> None:
        """Remove the drafts of files that a killed run had not finished."""
        products, model = self.artefact("publish"), self.artefact("train")
        for draft in [*self.folder.glob(DRAFT), *model.glob(DRAFT), *products.rglob(DRAFT), *products.rglob(".vigie-*")]:
            _remove(draft)


def _stamp(path: Path) -> list[int]:
    """Size and time of the last change, by which a changed file is known without reading it."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _remove(path: Path) -> None:
    import shutil

    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
