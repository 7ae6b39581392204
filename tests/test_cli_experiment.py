"""Experiments and command lines with mistakes in them: one line that names the place, what was expected, and what to do."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from vigie import __version__
from vigie.cli import main
from vigie.story.app import app_names, find_app
from vigie.story.experiment import to_toml
from vigie.story.progress import Lines
from vigie.story.reading import load

PLAIN = 'app = "glaciers"\nname = "page"\n[[acquire.sources]]\nimages = "none.tif"\n'

Vigie = Callable[..., tuple[int | None, str, str]]


@pytest.fixture
def vigie(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Vigie:
    """The command line in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> tuple[int | None, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(words)
        return left.value.code, *capsys.readouterr()

    return command


def refused(told: tuple[int | None, str, str], *words: str) -> None:
    code, out, err = told
    assert (code, out) == (2, "")
    assert err.startswith("vigie: ")
    assert err.count("\n") == 1
    assert "; to mend it: " in err
    for word in words:
        assert word in err


MISTAKES = {
    "unknown key": ("seeed = 1", ("unknown key 'seeed'", "did you mean 'seed'?")),
    "unknown key below": ("train.fit.stepps = 1", ("unknown key 'train.fit.stepps'", "did you mean 'steps'?")),
    "unknown key of a variant": ('engine = { kind = "threads", worker = 2 }', ("unknown key 'engine.worker'", "'workers'?")),
    "wrong type": ('train.fit.steps = "many"', ("'train.fit.steps' is wrong; found 'many'; expected a valid integer",)),
    "out of range": ('engine = { kind = "dask", workers = 0 }', ("'engine.workers' is wrong; found 0; expected greater than",)),
    "unknown variant": ('engine.kind = "dusk"', ("'engine' is wrong; found {'kind': 'dusk'}", "'serial', 'threads', 'dask'")),
    "unknown word": ('harmonize.shadow = "gan"', ("'harmonize.shadow' is wrong; found 'gan'; expected 'none', 'gain' or",)),
    "keys that contradict": ("harmonize.tile = 100", ("'harmonize' is wrong", "tile (100) must be a multiple of chunk (256)")),
    "a table without its fellow": (
        'acquire.sources = [{ images = "a.tif", truth = "b.tif" }]',
        ("'acquire.sources.0' is wrong; expected a legend beside truth: the name of", "codes follow; to mend it: correct it; "),
    ),
    "a list that is too short": ("harmonize.grid.bounds = [1, 2, 3]", ("'harmonize.grid.bounds.3' is missing; ",)),
    "bounds the wrong way round": (
        "harmonize.grid.bounds = [450500, 3099500, 450000, 3098000]",
        ("'harmonize.grid.bounds' is wrong; found [450500, ", "west < east and south < north; to mend it: correct it; "),
    ),
    "no network like it": ('train.network.name = "zebra"', ("unknown network 'zebra'", "correct train.network.name")),
    "even sides": ("train.network.sides = [4]", ("'train.network.sides' is wrong; found [4]; expected odd numbers from 3; ",)),
    "width below zero": (
        "train.network.widths = [-4]",
        ("'train.network.widths.0' is wrong; found -4; expected greater than 0",),
    ),
    "unknown method": (
        'verify.baselines = ["random-forrest"]',
        ("'verify.baselines' is wrong", "did you mean 'random-forest'?"),
    ),
    "name of no folder": ('name = "a/b"', ("'name' is wrong; found 'a/b'; expected the name of one folder",)),
    "no name": ('name = ""', ("'name' is wrong; found ''",)),
    "shift too large": ("harmonize.coregister.limit_m = -1", ("'harmonize.coregister.limit_m' is wrong; found -1",)),
    "no TOML": ("app = \n", ("is not TOML; found", "line 1")),
    "no app": ('app = "glacier"', ("there is no application 'glacier'", "did you mean 'glaciers'?")),
}


@pytest.mark.parametrize(("line", "words"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_in_an_experiment(vigie, tmp_path, line, words):
    key = line.split()[0]
    given = PLAIN.split("[[")[0] if key == "acquire.sources" else PLAIN
    plain = "".join(row for row in given.splitlines(keepends=True) if row.split()[0] != key)
    (tmp_path / "page.toml").write_text(f"{line}\n{plain}")
    refused(vigie("run", "page.toml"), *words)
    assert [path.name for path in tmp_path.iterdir()] == ["page.toml"]


def test_a_missing_key_is_named(vigie, tmp_path):
    (tmp_path / "page.toml").write_text(PLAIN.replace('name = "page"\n', ""))
    refused(vigie("run", "page.toml"), "key 'name' is missing", "`vigie schema`")


def test_text_that_is_not_utf8_is_told(vigie, tmp_path):
    (tmp_path / "page.toml").write_bytes("app = 'été'".encode("latin-1"))
    refused(vigie("run", "page.toml"), "is not TOML", "UTF-8")


COMMANDS = {
    "no experiment": (
        ["run"],
        ("Missing argument 'EXPERIMENT.toml'; found vigie run; expected vigie run EXPERIMENT.toml; ", "`vigie run --help`"),
    ),
    "nothing to explain": (["explain"], ("'EXPERIMENT.toml'; found vigie explain; expected vigie explain EXPERIMENT.toml; ",)),
    "nothing to compare": (["compare"], ("'RUN...'; found vigie compare; expected vigie compare RUN...; to mend it: see ",)),
    "no image": (
        ["apply", "runs/mine"],
        ("'SCENE...'; found vigie apply runs/mine; expected vigie apply MODEL SCENE... --out FOLDER; to mend it: see ",),
    ),
    "no folder for the maps": (["apply", "runs/mine", "a.tif"], ("Missing option '--out'; found vigie apply runs/mine a.tif",)),
    "option without value": (["apply", "runs/mine", "a.tif", "--out"], ("expected vigie apply MODEL", "`vigie apply --help`")),
    "too many words": (["schema", "a", "b"], ("(b); found vigie schema a b; expected vigie schema [APPLICATION]; ",)),
    "no such file": (["run", "none.toml"], ("there is no experiment 'none.toml'", "`vigie schema APP`")),
    "unknown option": (["run", "page.toml", "--oot", "x"], ("No such option: --oot", "--out")),
    "unknown verb": (["rum"], ("No such command 'rum'", "'run'", "expected vigie and one of run, acquire, ", "`vigie --help`")),
    "override without value": (["run", "page.toml", "--set", "train"], ("an override is not understood; found train",)),
    "override through a value": (
        ["run", "page.toml", "--set", "app.x=1"],
        ("override 'app.x=1' goes through 'app'; found 'glaciers'",),
    ),
    "override of an unknown key": (["run", "page.toml", "--set", "seeed=1"], ("unknown key 'seeed'", "did you mean 'seed'?")),
    "schema of an unknown application": (["schema", "glacier"], ("did you mean 'glaciers'?",)),
    "compare without scores": (["compare", "nothing"], ("run 'nothing' has no scores", "run `vigie run`")),
    "apply without a model": (["apply", "nothing", "x.tif", "--out", "y"], ("there is no trained model in nothing",)),
    "stage before its turn": (
        ["predict", "page.toml"],
        ("'predict' works on what 'acquire' leaves, which is not done; found nothing at", "run `vigie acquire` first"),
    ),
}


@pytest.mark.parametrize(("words", "told"), COMMANDS.values(), ids=COMMANDS)
def test_mistakes_on_the_command_line(vigie, tmp_path, words, told):
    (tmp_path / "page.toml").write_text(PLAIN)
    refused(vigie(*words), *told)
    assert [path.name for path in tmp_path.iterdir()] == ["page.toml"]


def test_the_version_is_told(vigie):
    assert vigie("--version") == (0, f"vigie {__version__}\n", "")


def test_help_is_given_without_words(vigie):
    code, out, err = vigie()
    assert (code, err) == (0, "")
    for verb in ("run", "explain", "schema", "apps", "demo", "compare", "assess", "apply"):
        assert verb in out


def test_schema_and_apps_are_told(vigie):
    assert vigie("apps")[1].startswith("glaciers")
    keys = vigie("schema", "glaciers")[1]
    for key in ("train.fit.steps", "harmonize.coregister.reference", "engine.timeout_s", "publish.outlines"):
        assert key in keys


def test_tables_of_free_keys_are_told_as_they_can_be_set(vigie, tmp_path):
    """What the schema says is the default can be given."""
    keys = vigie("schema", "glaciers")[1].splitlines()
    told = {line.split()[0]: " ".join(line.split()[1:]) for line in keys}
    assert told["train.windows.shares"].startswith("table of numbers, default {}: weights of the windows of sensors")
    assert told["publish.history.prior"].startswith("table of numbers, default {'land': 0.55")
    assert not [key for key, text in told.items() if text.startswith("value")]
    (tmp_path / "page.toml").write_text(PLAIN)
    assert load(tmp_path / "page.toml", ["train.windows.shares={}"]) == load(tmp_path / "page.toml")


@pytest.mark.parametrize("name", app_names())
def test_every_setting_has_a_meaning(name):
    schema = find_app(name).settings.model_json_schema()
    tables = {"": schema, **schema["$defs"]}
    settings = {f"{table}.{key}": entry for table, held in tables.items() for key, entry in held.get("properties", {}).items()}
    assert len(settings) > 50
    assert [key for key, entry in settings.items() if not entry.get("description")] == []


def test_what_is_validated_can_be_run_again(tmp_path):
    (tmp_path / "page.toml").write_text(PLAIN)
    _, first = load(tmp_path / "page.toml", ["harmonize.coregister.side=64", "summary=A page."])
    (tmp_path / "again.toml").write_text(to_toml(first))
    assert load(tmp_path / "again.toml")[1] == first
    assert tomllib.loads(to_toml(first))["harmonize"]["coregister"]["side"] == 64


def test_long_work_without_a_terminal_is_told_now_and_then(caplog):
    with caplog.at_level(logging.INFO, "vigie"), Lines(every_s=0.0).task("train fold-0", 4) as advance:
        advance(2, "loss 0.71")
    (line,) = caplog.messages
    assert line.startswith("train fold-0: 2 of 4 after ")
    assert line.endswith("s, loss 0.71")
    with caplog.at_level(logging.INFO, "vigie"), Lines().task("train fold-0", 4) as advance:
        advance(2)
    assert len(caplog.messages) == 1


def test_the_installed_command_ends_with_its_exit_code(tmp_path):
    told = subprocess.run(
        [Path(sys.executable).with_name("vigie"), "run", "none.toml"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.count("\n") == 1
    assert "Traceback" not in told.stderr
