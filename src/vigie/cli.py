"""The command line: verbs, nothing else. Every error a person can mend is one line and exit code 2."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from vigie.core.errors import VigieError
from vigie.story.run import STAGES

app = typer.Typer(
    name="vigie",
    help="Turn heterogeneous Earth observations into maps and forecasts that say how sure they are.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ExperimentFile = Annotated[Path, typer.Argument(metavar="EXPERIMENT.toml", help="the experiment, see examples/")]
Out = Annotated[Path, typer.Option("--out", help="folder that holds the runs")]
Set = Annotated[list[str], typer.Option("--set", help="override a key: train.fit.steps=20 (may be repeated)")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress bars and no log, only errors")]
Names = Annotated[list[Path], typer.Argument(metavar="RUN...", help="run folders")]


@app.command()
def run(experiment: ExperimentFile, out: Out = Path("runs"), set_: Set = [], quiet: Quiet = False) -> None:  # noqa: B006
    """Run all six stages, skipping what is done and unchanged."""
    _perform(experiment, out, set_, quiet, STAGES)


def _stage_command(stage: str) -> None:
    def command(experiment: ExperimentFile, out: Out = Path("runs"), set_: Set = [], quiet: Quiet = False) -> None:  # noqa: B006
        _perform(experiment, out, set_, quiet, (stage,))

    app.command(name=stage, help=f"Run the stage '{stage}' alone, on what the stages before it left.")(command)


for _name in STAGES:
    _stage_command(_name)


@app.command()
def explain(experiment: ExperimentFile, out: Out = Path("runs"), set_: Set = []) -> None:  # noqa: B006
    """Say what a run would read, compute and write, and how much memory it needs, without doing it."""
    from vigie.story.explain import explain as explain_run

    _, prepared = _prepare(experiment, out, set_, quiet=True)
    typer.echo(explain_run(prepared))


@app.command()
def schema(application: Annotated[str, typer.Argument(help="name of an application")] = "") -> None:
    """Document every key of an application's experiment file."""
    from vigie.story.experiment import app_names, find_app
    from vigie.story.schema import describe

    for name in [application] if application else app_names():
        typer.echo(describe(find_app(name).settings))


@app.command()
def apps() -> None:
    """List the installed applications."""
    from vigie.story.experiment import app_names, find_app

    for name in app_names():
        typer.echo(f"{name:16} {find_app(name).summary}")


@app.command()
def demo(
    application: Annotated[str, typer.Argument(help="name of an application")] = "glaciers",
    out: Out = Path("runs"),
    quiet: Quiet = False,
) -> None:
    """Run an application's whole story on the built-in synthetic Earth."""
    from vigie.story.app import perform
    from vigie.story.experiment import find_app, validate
    from vigie.story.run import Run

    settings = find_app(application).demo(out / "synthetic-earth" / application)
    found, experiment = validate(settings, f"demo of {application}")
    prepared = Run(experiment, out / experiment.name, _progress(quiet))
    perform(found, prepared)
    _tell(prepared)


@app.command()
def compare(
    runs: Names,
    out: Annotated[Path, typer.Option("--out", help="folder for the table and the figure")] = Path("comparison"),
) -> None:
    """Compare the scores of several runs: one table and one figure."""
    from vigie.story.compare import compare as compare_runs

    typer.echo(compare_runs(runs, out))


@app.command()
def apply(
    model: Annotated[Path, typer.Argument(help="a trained model: a run folder, or a folder of its model/")],
    scenes: Annotated[list[str], typer.Argument(metavar="SCENE...", help="your own images: files, folders, products")],
    out: Annotated[Path, typer.Option("--out", help="folder for the products")],
    sensor: Annotated[str, typer.Option(help="sensor name or TOML file; 'auto' recognises products by their names")] = "auto",
    dem: Annotated[Path | None, typer.Option(help="elevation model, metres")] = None,
    date: Annotated[str | None, typer.Option(help="date of the images, ISO 8601, where no name or tag tells it")] = None,
    outlines: Annotated[Path | None, typer.Option(help="known outlines: glaciers keep their identity and divides")] = None,
    set_: Set = [],  # noqa: B006
    quiet: Quiet = False,
) -> None:
    """Map your own images with a trained model, to finished products."""
    from vigie.story.apply import Request
    from vigie.story.apply import apply as apply_model

    request = Request(tuple(scenes), sensor, dem, date, outlines, tuple(set_))
    _tell(apply_model(model, request, out, _progress(quiet)))


def main() -> None:
    """Run the command line; errors a person can mend are one line and exit code 2."""
    try:
        app()
    except VigieError as error:
        typer.echo(f"vigie: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("vigie: stopped; run the same command again to go on where it was", err=True)
        sys.exit(130)


def _prepare(experiment: Path, out: Path, overrides: list[str], quiet: bool) -> tuple[object, object]:
    from vigie.story.experiment import load
    from vigie.story.run import Run

    found, settings = load(experiment, overrides)
    return found, Run(settings, out / settings.name, _progress(quiet), base=experiment.resolve().parent)


def _perform(experiment: Path, out: Path, overrides: list[str], quiet: bool, stages: tuple[str, ...]) -> None:
    from vigie.story.app import perform

    found, prepared = _prepare(experiment, out, overrides, quiet)
    perform(found, prepared, stages)
    _tell(prepared)


def _progress(quiet: bool) -> object:
    from vigie.story.progress import Bars, Silent

    logging.basicConfig(level=logging.ERROR if quiet else logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for talkative in ("lightning", "stac_geoparquet", "distributed", "rasterio", "pyogrio"):
        logging.getLogger(talkative).setLevel(logging.ERROR)
    return Bars() if sys.stderr.isatty() and not quiet else Silent()


def _tell(prepared: object) -> None:
    report = prepared.artefact("publish") / "report.html"
    if report.is_file():
        typer.echo(f"report: {report}")
