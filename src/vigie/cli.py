"""The command line: verbs, nothing else. Every error a person can mend is one line and exit code 2."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import vigie
from vigie.core.errors import VigieError
from vigie.story.run import STAGES, Run

if TYPE_CHECKING:
    from vigie.story.app import App
    from vigie.story.progress import Progress

app = typer.Typer(
    name="vigie",
    help="Turn heterogeneous Earth observations into maps and forecasts that say how sure they are.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

ExperimentFile = Annotated[Path, typer.Argument(metavar="EXPERIMENT.toml", help="the experiment, see examples/")]
Out = Annotated[Path, typer.Option("--out", help="folder that holds the runs")]
Set = Annotated[list[str], typer.Option("--set", help="override a key: train.fit.steps=20 (may be repeated)")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress bars and no log, only errors")]
Names = Annotated[list[Path], typer.Argument(metavar="RUN...", help="run folders")]


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vigie {vigie.__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="tell the version")] = False,
) -> None:
    """Take the options that come before a verb."""


@app.command()
def run(experiment: ExperimentFile, out: Out = Path("runs"), set_: Set = [], quiet: Quiet = False) -> None:  # noqa: B006
    """Run all six stages, skipping what is done and unchanged."""
    from vigie.story.app import perform

    found, prepared = _prepare(experiment, out, set_, _progress(quiet))
    perform(found, prepared)
    _tell(prepared, quiet)


def _stage_command(stage: str) -> None:
    def command(experiment: ExperimentFile, out: Out = Path("runs"), set_: Set = [], quiet: Quiet = False) -> None:  # noqa: B006
        from vigie.story.app import perform_alone

        found, prepared = _prepare(experiment, out, set_, _progress(quiet))
        perform_alone(found, prepared, stage)
        _tell(prepared, quiet or stage != STAGES[-1])

    app.command(name=stage, help=f"Run the stage '{stage}' alone, on what the stages before it left.")(command)


for _name in STAGES:
    _stage_command(_name)


@app.command()
def explain(experiment: ExperimentFile, out: Out = Path("runs"), set_: Set = []) -> None:  # noqa: B006
    """Say what a run would read, compute and write, and how much memory it needs, without doing it."""
    found, prepared = _prepare(experiment, out, set_, _progress(quiet=True))
    found.check(prepared)
    for line in found.explain(prepared):
        typer.echo(line)


@app.command()
def schema(application: Annotated[str, typer.Argument(metavar="APPLICATION", help="name of an application")] = "") -> None:
    """Document every key of an application's experiment file, and of its assessments."""
    from vigie.story.app import app_names, find_app
    from vigie.story.schema import describe

    for name in [application] if application else app_names():
        found = find_app(name)
        typer.echo(describe(found.settings))
        if found.assess is not None:
            typer.echo(f"\nassessments, `vigie assess`:\n{describe(found.assess.settings)}")


@app.command()
def apps() -> None:
    """List the installed applications."""
    from vigie.story.app import app_names, find_app

    for name in app_names():
        typer.echo(f"{name:16} {find_app(name).summary}")


@app.command()
def demo(
    application: Annotated[str, typer.Argument(metavar="APPLICATION", help="name of an application")] = "glaciers",
    out: Out = Path("runs"),
    quiet: Quiet = False,
) -> None:
    """Run an application's whole story on the built-in synthetic Earth."""
    from vigie.story.app import find_app, perform
    from vigie.story.reading import validate

    settings = find_app(application).demo(out / "synthetic-earth" / application)
    found, experiment = validate(settings, f"demo of {application}")
    prepared = Run(experiment, out / experiment.name, _progress(quiet))
    perform(found, prepared)
    _tell(prepared, quiet)


@app.command()
def compare(
    runs: Names,
    out: Annotated[Path, typer.Option("--out", help="folder for the table and the figure")] = Path("comparison"),
) -> None:
    """Compare the scores of several runs: one table and one figure."""
    from vigie.story.compare import FIGURE, TABLE
    from vigie.story.compare import compare as compare_runs

    typer.echo(compare_runs(runs, out))
    typer.echo(f"table: {out / TABLE}\nfigure: {out / FIGURE}")


@app.command()
def assess(
    assessment: Annotated[Path, typer.Argument(metavar="ASSESSMENT.toml", help="products and a reference, see examples/")],
    out: Annotated[Path, typer.Option("--out", help="folder for figures, table and page")] = Path("assessment"),
    set_: Set = [],  # noqa: B006
    quiet: Quiet = False,
) -> None:
    """Hold anybody's products against a reference: one protocol, one page."""
    from vigie.story.reading import load_assessment

    found, settings = load_assessment(assessment, set_)
    _progress(quiet)
    page = found.perform(settings, assessment.resolve().parent, out)
    if not quiet:
        typer.echo(f"page: {page}")


@app.command()
def apply(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="a trained model: a run folder, or a folder of its model/")],
    scenes: Annotated[list[str], typer.Argument(metavar="SCENE...", help="your own images or granules: files, products")],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="folder for the products")],
    sensor: Annotated[str, typer.Option(help="sensor name or TOML file; 'auto' recognises products by their names")] = "auto",
    dem: Annotated[Path | None, typer.Option(help="elevation model, metres")] = None,
    date: Annotated[str | None, typer.Option(help="date of the images, ISO 8601, where no name or tag tells it")] = None,
    outlines: Annotated[Path | None, typer.Option(help="known outlines: glaciers keep their identity and divides")] = None,
    label_source: Annotated[
        str | None, typer.Option(help="where rain rates in tables of footprints come from: dpr, cmb, era5 ...")
    ] = None,
    set_: Set = [],  # noqa: B006
    quiet: Quiet = False,
) -> None:
    """Let a trained model map or retrieve from your own files, to finished products."""
    from vigie.story.apply import apply as apply_model
    from vigie.story.applying import Request

    request = Request(tuple(scenes), sensor, dem, date, outlines, label_source, tuple(set_))
    _tell(apply_model(model, request, out, _progress(quiet)), quiet)


class Stopped(BaseException):
    """Somebody, or the system, wants the work to end; drafts are removed on the way out."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; errors a person can mend are one line and exit code 2."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        with _stoppable():
            sys.exit(app(words or ["--help"], prog_name="vigie", standalone_mode=False))
    except VigieError as error:
        typer.echo(f"vigie: {error}", err=True)
        sys.exit(2)
    except typer.TyperException as error:
        typer.echo(f"vigie: {_misused(error, words)}", err=True)
        sys.exit(2)
    except Stopped as stopped:
        typer.echo("vigie: stopped; run the same command again to go on where it was", err=True)
        sys.exit(128 + int(stopped.args[0]))


def _misused(error: typer.TyperException, words: Sequence[str]) -> VigieError:
    """Say of words that are not understood what was found, what is expected, and where the help is."""
    verbs = list(typer.main.get_group(app).commands)
    known = words[0] in verbs
    expected = f"vigie {words[0]} {' '.join(_taken(words[0]))}" if known else f"vigie and one of {', '.join(verbs)}"
    place = f"vigie {words[0]}" if known else "vigie"
    problem = error.format_message().strip().removesuffix(".")
    return VigieError(problem, found=" ".join(["vigie", *words]), expected=expected, do=f"see `{place} --help`")


def _taken(verb: str) -> Iterator[str]:
    """Name the arguments that a verb takes, optional ones in brackets, and the options that it must be given."""
    for parameter in typer.main.get_group(app).commands[verb].params:
        if parameter.param_type_name == "argument":
            yield f"{parameter.metavar}" if parameter.required else f"[{parameter.metavar}]"
        elif parameter.required:
            yield f"{parameter.opts[0]} {parameter.metavar}"


@contextmanager
def _stoppable() -> Iterator[None]:
    """Turn Ctrl-C and the system's request to end into `Stopped`, which nothing on the way takes for something else."""

    def stop(number: int, frame: object) -> None:
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _prepare(experiment: Path, out: Path, overrides: list[str], progress: Progress) -> tuple[App, Run]:
    from vigie.story.reading import load

    found, settings = load(experiment, overrides)
    return found, Run(settings, out / settings.name, progress, base=experiment.resolve().parent)


def _progress(quiet: bool) -> Progress:
    """Choose how progress shows, and let the log speak as much."""
    from vigie.story.progress import Bars, Lines, LogLines, Silent

    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", handlers=[LogLines()], force=True)
    logging.captureWarnings(True)
    logging.getLogger().setLevel(logging.ERROR)
    logging.getLogger("vigie").setLevel(logging.ERROR if quiet else logging.INFO)
    for part in ("fabric", "pytorch"):
        # Lightning has handlers of its own, and tells the precision of every member through them.
        logging.getLogger(f"lightning.{part}.utilities.rank_zero").setLevel(logging.WARNING)
    if quiet:
        return Silent()
    return Bars() if sys.stderr.isatty() else Lines()


def _tell(prepared: Run, quiet: bool) -> None:
    report = prepared.artefact("publish") / "report.html"
    if report.is_file() and not quiet:
        typer.echo(f"report: {report}")
