"""Progress of long work: a bar on a terminal, now and then a line in a log, or silence."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

log = logging.getLogger("vigie")


class LogLines(logging.Handler):
    """Write a log to standard error as it is at the moment: a bar that is shown there moves down for each line.

    Of libraries only errors are passed on, whatever level they give their own loggers (Dask's scheduler tells of every worker).
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep vigie's records, and the errors of others."""
        ours = record.name == "vigie" or record.name.startswith("vigie.")
        return (ours or record.levelno >= logging.ERROR) and bool(super().filter(record))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        sys.stderr.write(f"{self.format(record)}\n")


class Advance(Protocol):
    """What a stage calls when a piece of work is done."""

    def __call__(self, pieces: int = 1, note: str = "") -> None:
        """Count pieces as done and show a short note, such as the loss."""
        ...


class Progress(Protocol):
    """Anything that shows how far a piece of work is."""

    def task(self, title: str, total: int) -> AbstractContextManager[Advance]:
        """Begin a task of `total` pieces; use it as a context manager that gives an `Advance`."""
        ...


@dataclass(frozen=True)
class Silent:
    """Shows nothing: for `--quiet`, logs and tests.

    Examples
    --------
    >>> with Silent().task("tiles", total=2) as advance:
    ...     advance()
    """

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Advance]:
        """Give an `Advance` that does nothing."""

        def advance(pieces: int = 1, note: str = "") -> None:
            return None

        yield advance


@dataclass(frozen=True)
class Lines:
    """Log lines, at most one every `every_s` seconds: for work without a terminal, such as a job on a cluster."""

    every_s: float = 60.0

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Advance]:
        """Give an `Advance` that logs how far the work is and how long it has taken."""
        started = time.monotonic()
        done, told = 0, started

        def advance(pieces: int = 1, note: str = "") -> None:
            nonlocal done, told
            done, now = done + pieces, time.monotonic()
            if now - told >= self.every_s:
                told = now
                log.info("%s: %d of %d after %.0f s%s", title, done, total, now - started, f", {note}" if note else "")

        yield advance


@dataclass(frozen=True)
class Bars:
    """Rich progress bars on standard error, with the time left and a note."""

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Advance]:
        """Show one bar until the work ends."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns = (
            TextColumn("{task.description:>24}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with RichProgress(*columns, console=Console(stderr=True)) as bars:
            bar = bars.add_task(title, total=total, note="")

            def advance(pieces: int = 1, note: str = "") -> None:
                bars.update(bar, advance=pieces, note=note)

            yield advance
