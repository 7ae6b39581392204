"""The experiment: what one TOML file says, everything that a run depends on."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from vigie.core.engine import WITHOUT_WORKERS_S, Dask, Engine, Serial, Slurm, Threads


class Settings(BaseModel):
    """Strict settings: an unknown key is an error, and nothing changes after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SerialEngine(Settings):
    """Work one piece after another in this process."""

    kind: Literal["serial"] = Field(default="serial", description="one piece after another in this process")

    def start(self) -> Engine:
        """Build the engine."""
        return Serial()


class ThreadsEngine(Settings):
    """Work in threads of this process."""

    kind: Literal["threads"] = Field(default="threads", description="threads of this process")
    workers: int = Field(default=4, ge=1, description="number of threads")

    def start(self) -> Engine:
        """Build the engine."""
        return Threads(self.workers)


class SlurmSettings(Settings):
    """How to ask Slurm for one Dask worker."""

    queue: str = Field(description="partition")
    account: str | None = Field(default=None, description="project to charge")
    cores: int = Field(default=4, ge=1, description="processor cores of a worker")
    memory: str = Field(default="16GiB", description="memory of a worker")
    walltime: str = Field(default="02:00:00", description="longest life of a worker, hours:minutes:seconds")
    jobs: int = Field(default=1, ge=1, description="number of workers")
    directives: tuple[str, ...] = Field(default=(), description="further #SBATCH lines, for instance '--gres=gpu:1'")
    prologue: tuple[str, ...] = Field(
        default=(), description="shell lines run before the worker, for instance 'module load cuda'"
    )


class DaskEngine(Settings):
    """Work on a Dask cluster: a running one, one on this machine, or Slurm jobs."""

    kind: Literal["dask"] = Field(default="dask", description="a Dask cluster: running, on this machine, or Slurm jobs")
    address: str | None = Field(default=None, description="a scheduler that runs already, such as tcp://host:8786")
    workers: int = Field(default=2, ge=1, description="workers of the cluster on this machine")
    slurm: SlurmSettings | None = Field(default=None, description="start workers as Slurm jobs")
    timeout_s: float = Field(default=30.0, gt=0, description="how long to wait for the scheduler, seconds")
    without_workers_s: float = Field(
        default=WITHOUT_WORKERS_S, gt=0, description="how long to go on without a worker once there was one, seconds"
    )

    def start(self) -> Engine:
        """Build the engine."""
        slurm = Slurm(**self.slurm.model_dump()) if self.slurm else None
        return Dask(self.address, self.workers, slurm, timeout_s=self.timeout_s, without_workers_s=self.without_workers_s)


EngineSettings = Annotated[SerialEngine | ThreadsEngine | DaskEngine, Field(discriminator="kind")]


class Experiment(Settings):
    """What every application's experiment holds; each application adds the settings of its stages.

    `ahead` names, by stage, the table and key of a later stage that it reads: with another value the stage is done again, but
    what it left stays for it to go on from.
    """

    ahead: ClassVar[Mapping[str, tuple[str, str]]] = {}

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


def to_json(experiment: Experiment, tables: Collection[str] | None = None) -> str:
    """The validated experiment, whole or only some of its tables, as JSON: it travels inside every product.

    The engine is left out: products are the same bytes whichever made them. The report tells it, with the whole experiment.
    """
    return json.dumps(experiment.model_dump(mode="json", include=_kept(tables), exclude={"engine"}), sort_keys=True)


def to_toml(experiment: Experiment, tables: Collection[str] | None = None) -> str:
    """The validated experiment, whole or only some of its tables, as TOML; what is not set is left out.

    `vigie run` reads the whole one.
    """
    import tomli_w

    return tomli_w.dumps(experiment.model_dump(mode="json", include=_kept(tables), exclude_none=True))


def _kept(tables: Collection[str] | None) -> set[str] | None:
    return None if tables is None else set(tables)
