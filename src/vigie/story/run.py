"""A run: one experiment's folder, where every stage leaves exactly one artefact and knows whether it is up to date."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import vigie
from vigie.core.errors import VigieError
from vigie.core.store import check_folder, markers, write_text
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

NOTES = ".stages"
"""Folder in the run folder that holds what each stage notes of itself."""

DRAFT = f".{'[0-9a-f]' * 32}.*"
"""Name of a file that is being written: see `core.store.whole_file`."""

FORMAT = 2
"""Raised when artefacts of older code can no longer be read: runs that hold such are done again."""

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
            "version": [vigie.__version__, FORMAT],
            "inputs": self._read("inputs").get("digest") if stage != STAGES[0] else None,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def done(self, stage: str) -> bool:
        """Say whether the stage was finished with the same settings and inputs, and its artefact is still there."""
        note = self._read(stage)
        return (
            note.get("fingerprint") == self.fingerprint(stage)
            and note.get("ahead") == self._ahead(stage)
            and self.artefact(stage).exists()
            and not self.changed_files(stage)
        )

    def note_digest(self, digest: str) -> None:
        """Remember the digest of all that a run works on: every stage after the first depends on it."""
        self._write("inputs", {"digest": digest})

    def note_files(self, stage: str, files: Iterable[Path]) -> None:
        """Remember the files outside the run that a stage reads: it is done again when one of them is replaced."""
        self._write(f"{stage}.files", {file.as_posix(): _stamp(file) for file in files})

    def changed_files(self, stage: str) -> list[Path]:
        """Files that a stage has read and that are others now; one that is gone has been read, and is not asked for."""
        stamps = {Path(name): stamp for name, stamp in self._read(f"{stage}.files").items()}
        return [file for file, stamp in stamps.items() if file.exists() and _stamp(file) != stamp]

    def check_own(self, stages: Iterable[str]) -> None:
        """Refuse a folder where these stages would remove what no run has left there.

        Raises
        ------
        VigieError: the run's folder is a file, or something lies where a stage puts its artefact and is not of a run.
        """
        check_folder(self.folder)
        for stage in stages:
            if self.artefact(stage).exists() and not self._begun(stage).is_file():
                raise VigieError(
                    f"the stage '{stage}' would remove what a run did not make",
                    found=self.artefact(stage),
                    expected="a new folder, or the folder of a run",
                    do="choose another --out, or move this away",
                )

    @contextmanager
    def doing(self, stage: str) -> Iterator[None]:
        """Run a stage's work inside: partial results of other settings are removed first, and the end is noted."""
        started = time.monotonic()
        with self.leaving_nothing() if stage == STAGES[0] else nullcontext():
            self._clear_if_changed(stage)
            self._note(stage).unlink(missing_ok=True)
            log.info("%s: begins in %s", stage, self.folder)
            yield
            seconds = time.monotonic() - started
            note = {"fingerprint": self.fingerprint(stage), "ahead": self._ahead(stage), "seconds": round(seconds, 2)}
            self._write(stage, note)
            log.info("%s: left %s after %.1f s", stage, self.artefact(stage), seconds)

    @contextmanager
    def leaving_nothing(self) -> Iterator[None]:
        """Remove what was written when the work inside is refused before there is a cube; what was there before stays."""
        before = self._written()
        try:
            yield
        except BaseException:
            if not self.artefact("harmonize").exists():
                for path in sorted(self._written() - before, reverse=True):
                    if path.is_symlink() or path.is_file():
                        path.unlink()
                    elif not any(path.iterdir()):
                        path.rmdir()
            raise

    def _written(self) -> set[Path]:
        """The run folder and those it lies in, as far as they are there, and in it what is written before the cube."""
        places = {self.folder, *self.folder.parents, self.artefact("acquire")}
        for folder in (self.folder / NOTES, self.artefact("train")):
            places |= {folder, *folder.rglob("*")}
        return {place for place in places if place.exists() or place.is_symlink()}

    def seconds(self) -> dict[str, float]:
        """How long each finished stage took, in seconds."""
        return {stage: note["seconds"] for stage in STAGES if (note := self._read(stage))}

    def _ahead(self, stage: str) -> object:
        """The setting of a later stage that a stage reads, None where there is none."""
        if stage not in self.experiment.ahead:
            return None
        later, key = self.experiment.ahead[stage]
        return getattr(getattr(self.experiment, later), key)

    def _note(self, name: str) -> Path:
        return self.folder / NOTES / f"{name}.json"

    def _begun(self, stage: str) -> Path:
        return self.folder / NOTES / f"{stage}.begun"

    def _read(self, name: str) -> dict[str, Any]:
        """Read a note; one that is not there is empty."""
        note = self._note(name)
        return dict(json.loads(note.read_text(encoding="utf-8"))) if note.is_file() else {}

    def _write(self, name: str, content: Mapping[str, object]) -> None:
        write_text(self._note(name), json.dumps(content, sort_keys=True))

    def _clear_if_changed(self, stage: str) -> None:
        """Half-done work is kept only when it was begun with the same settings and inputs, and is still there."""
        begun = self._begun(stage)
        self._clear_drafts()
        replaced = self.changed_files(stage)
        for file in replaced:
            log.info("%s: %s has changed since it was read", stage, file)
        same = begun.is_file() and begun.read_text() == self.fingerprint(stage)
        if stage == STAGES[0]:
            # Acquire replaces one file, whole, once it has found all. That may be what was there: then later stages are done.
            write_text(begun, self.fingerprint(stage))
            return
        if same and self.artefact(stage).exists() and not replaced:
            return
        if begun.is_file() and not same:
            log.info("%s: settings or inputs have changed, what was there is removed", stage)
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
