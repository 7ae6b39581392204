"""The experiment: one TOML file, validated whole before any work, that says everything a run depends on."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from vigie.core.engine import Dask, Engine, Serial, Slurm, Threads
from vigie.core.errors import VigieError, nearest

if TYPE_CHECKING:
    from vigie.story.app import App


class Settings(BaseModel):
    """Strict settings: an unknown key is an error, and nothing changes after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SerialEngine(Settings):
    """Work one piece after another in this process."""

    kind: Literal["serial"] = "serial"

    def start(self) -> Engine:
        """Build the engine."""
        return Serial()


class ThreadsEngine(Settings):
    """Work in threads of this process."""

    kind: Literal["threads"] = "threads"
    workers: int = Field(default=4, ge=1, description="number of threads")

    def start(self) -> Engine:
        """Build the engine."""
        return Threads(self.workers)


class SlurmSettings(Settings):
    """How to ask Slurm for one Dask worker."""

    queue: str = Field(description="partition")
    account: str | None = Field(default=None, description="project to charge")
    cores: int = Field(default=4, ge=1)
    memory: str = Field(default="16GiB")
    walltime: str = Field(default="02:00:00")
    jobs: int = Field(default=1, ge=1, description="number of workers")
    directives: tuple[str, ...] = Field(default=(), description="further #SBATCH lines, for instance '--gres=gpu:1'")
    prologue: tuple[str, ...] = Field(
        default=(), description="shell lines run before the worker, for instance 'module load cuda'"
    )


class DaskEngine(Settings):
    """Work on a Dask cluster: a running one, one on this machine, or Slurm jobs."""

    kind: Literal["dask"] = "dask"
    address: str | None = Field(default=None, description="a scheduler that runs already, such as tcp://host:8786")
    workers: int = Field(default=2, ge=1, description="workers of the cluster on this machine")
    slurm: SlurmSettings | None = Field(default=None, description="start workers as Slurm jobs")
    timeout_s: float = Field(default=30.0, gt=0, description="how long to wait for the scheduler, seconds")

    def start(self) -> Engine:
        """Build the engine."""
        slurm = Slurm(**self.slurm.model_dump()) if self.slurm else None
        return Dask(address=self.address, workers=self.workers, slurm=slurm, timeout_s=self.timeout_s)


EngineSettings = Annotated[SerialEngine | ThreadsEngine | DaskEngine, Field(discriminator="kind")]


class Experiment(Settings):
    """What every application's experiment holds; each application adds the settings of its stages."""

    app: str = Field(description="name of the application, see `vigie apps`")
    name: str = Field(description="name of the run: its folder and the title of its report")
    summary: str = Field(default="", description="one sentence for the report")
    seed: int = Field(default=0, ge=0, description="makes everything random the same in every run")
    engine: EngineSettings = Field(default_factory=SerialEngine, description="where the work runs")

    @field_validator("name")
    @classmethod
    def _one_folder(cls, name: str) -> str:
        if name in ("", "..") or Path(name).name != name:
            raise ValueError("the name of one folder, without slashes")
        return name


def load(path: Path, overrides: Sequence[str] = ()) -> tuple[App, Experiment]:
    """Read and validate an experiment.

    Parameters
    ----------
    path: a TOML file.
    overrides: `key.key=value` with the value in TOML, for instance "train.fit.steps=20"; a bare word counts as text.

    Raises
    ------
    VigieError: the file is missing or is no TOML, a key is unknown (the nearest known one is named), or a value is wrong.
    """
    if not path.is_file():
        raise VigieError(f"there is no experiment '{path}'", expected="a TOML file", do="see examples/, or `vigie schema APP`")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise VigieError(f"{path} is not TOML", found=error, expected="a TOML 1.0 file in UTF-8") from error
    for text in overrides:
        override(content, text)
    return validate(content, str(path))


def validate(content: dict[str, Any], origin: str) -> tuple[App, Experiment]:
    """Find the application an experiment names and validate the content with its settings."""
    if "app" not in content:
        raise VigieError(f"{origin} names no application", expected=f"app = one of {', '.join(app_names())}")
    app = find_app(str(content["app"]))
    try:
        return app, app.settings.model_validate(content)
    except ValidationError as error:
        raise _explain(error, origin, app.settings, content) from error


def app_names() -> tuple[str, ...]:
    """Names of the installed applications (entry points `vigie.apps`)."""
    return tuple(sorted(point.name for point in entry_points(group="vigie.apps")))


def find_app(name: str) -> App:
    """Import the application of that name, and no other."""
    for point in entry_points(group="vigie.apps"):
        if point.name == name:
            app: App = point.load()
            return app
    raise VigieError(f"there is no application '{name}'", expected=", ".join(app_names()), do=nearest(name, app_names()))


def to_json(experiment: Experiment) -> str:
    """The whole validated experiment as JSON: it travels inside every product."""
    return json.dumps(experiment.model_dump(mode="json"), sort_keys=True)


def to_toml(experiment: Experiment) -> str:
    """The whole validated experiment as TOML that `vigie run` reads; what is not set is left out."""
    import tomli_w

    return tomli_w.dumps(experiment.model_dump(mode="json", exclude_none=True))


def override(content: dict[str, Any], text: str) -> None:
    """Set one key of an experiment's content from `key.key=value`."""
    key, equals, value_text = text.partition("=")
    if not equals or not key.strip():
        raise VigieError("an override is not understood", found=text, expected="key.key=value, for instance train.fit.steps=20")
    try:
        value = tomllib.loads(f"value = {value_text}")["value"]
    except tomllib.TOMLDecodeError:
        value = value_text
    *parents, last = key.strip().split(".")
    place = content
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise VigieError(f"override '{text}' goes through '{parent}'", expected="a table there")
    place[last] = value


def _explain(error: ValidationError, origin: str, settings: type[BaseModel], content: object) -> VigieError:
    """Say the first fault of a validation, and how many others there are, in one line."""
    faults = error.errors()
    first = faults[0]
    place = _place(first["loc"], content)
    others = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    if first["type"] == "extra_forbidden":
        hint = nearest(str(first["loc"][-1]), _keys(settings))
        return VigieError(f"{origin}: unknown key '{place}'{others}", do=hint or "see `vigie schema` for the known keys")
    if first["type"] == "missing":
        return VigieError(f"{origin}: key '{place}' is missing{others}", do="add it; `vigie schema` tells what it means")
    wanted = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    found = repr(first["input"])
    return VigieError(
        f"{origin}: key '{place}' is wrong{others}",
        found=found if len(found) < 80 else f"{found[:77]}...",
        expected=wanted,
        do="correct it; `vigie schema` tells what it means",
    )


def _place(location: tuple[int | str, ...], content: object) -> str:
    """Name a key as it stands in the file: what pydantic adds to tell variants of a table apart is left out."""
    names: list[str] = []
    for number, part in enumerate(location):
        if isinstance(content, Mapping) and part not in content and number < len(location) - 1:
            continue
        names.append(str(part))
        content = _inside(content, part)
    return ".".join(names)


def _inside(content: object, part: int | str) -> object:
    if isinstance(content, Mapping):
        return content.get(part)
    return content[part] if isinstance(content, list | tuple) and isinstance(part, int) else None


def _keys(settings: type[BaseModel]) -> list[str]:
    """Every key any part of the settings knows, for hints."""
    schema = settings.model_json_schema()
    tables = [schema, *schema.get("$defs", {}).values()]
    return sorted({key for table in tables for key in table.get("properties", {})})
