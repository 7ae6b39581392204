"""What the documentation says is true: its code runs, its commands, keys and links exist, its site builds."""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from typer.main import get_command

from vigie.acquire.sensor import parse_sensor
from vigie.cli import app as command_line
from vigie.story.app import app_names, find_app
from vigie.story.reading import validate
from vigie.story.schema import describe

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
ALLOWED_URLS = ("https://www.apache.org/licenses/", "https://doi.org/")
SAME = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

# A network of four steps leaves classes without a score in any resample; odc-geo 0.5 calls an old name of shapely.
pytestmark = [
    pytest.mark.filterwarnings("ignore:All-NaN slice encountered:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:The 'shapely.ops.transform:DeprecationWarning"),
]


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, its text, and the line it begins on."""

    language: str
    text: str
    line: int


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@cache
def blocks(page: Path) -> tuple[Block, ...]:
    text = page.read_text(encoding="utf-8")
    fences = re.finditer(r"^```(\w*)[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return tuple(Block(m[1], m[2], text[: m.start()].count("\n") + 2) for m in fences)


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def code_spans(page: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose(page))


def commands(page: Path) -> Iterator[str]:
    """Shell commands of a page: lines of `sh` blocks, and code in the text that begins with vigie or make."""
    for block in blocks(page):
        if block.language == "sh":
            yield from (line.split("#")[0].strip() for line in block.text.splitlines())
    yield from (span for span in code_spans(page) if re.match(r"(vigie|make) \S", span))


every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and no network."""

    def closed(*_: object) -> None:
        raise OSError("documentation must not need the network")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket.socket, "connect", closed)
    return tmp_path


@pytest.mark.parametrize("page", [p for p in PAGES if any(b.language == "python" for b in blocks(p))], ids=name_of)
def test_code_runs_and_prints_what_the_page_says(page: Path, elsewhere: Path) -> None:
    names: dict[str, object] = {"__name__": "page"}
    for block, following in zip(blocks(page), [*blocks(page)[1:], Block("", "", 0)], strict=True):
        if block.language != "python":
            continue
        printed = io.StringIO()
        source = "\n" * (block.line - 1) + block.text
        with contextlib.redirect_stdout(printed):
            exec(compile(source, str(page), "exec", dont_inherit=True), names)
        if following.language == "text":
            same = doctest.OutputChecker().check_output(following.text, printed.getvalue(), SAME)
            assert same, f"{name_of(page)} line {following.line}: printed\n{printed.getvalue()}"


@every_page
def test_commands_exist(page: Path) -> None:
    verbs = get_command(command_line).commands  # type: ignore[attr-defined]
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for command in commands(page):
        tool, *words = command.split()
        if tool == "make":
            assert words[0] in targets, command
        if tool == "vigie" and words[0] != "--help":
            assert words[0] in verbs, command
            known = {option for parameter in verbs[words[0]].params for option in parameter.opts}
            assert {word for word in words if word.startswith("-")} <= known, command
        for key in re.findall(r"--set ([\w.]+)=", command):
            assert key in keys(), command


@cache
def keys() -> frozenset[str]:
    """Every key and table of every application's experiments."""
    found = {
        line.split()[0].replace("[]", "") for name in app_names() for line in describe(find_app(name).settings).splitlines()
    }
    tables = {".".join(key.split(".")[:depth]) for key in found for depth in range(1, key.count(".") + 1)}
    return frozenset(found | tables)


@every_page
def test_keys_exist(page: Path) -> None:
    stages = "acquire|harmonize|train|predict|verify|publish|engine"
    for span in code_spans(page):
        found = re.match(rf"((?:{stages})(?:\.\w+)+)(?: = .+)?$", span)
        if found:
            assert found[1] in keys(), f"{name_of(page)}: `{span}`"


@every_page
def test_toml_is_valid(page: Path) -> None:
    """Whole experiments and sensors as they are; parts of an experiment in a plain one; entry points only as TOML."""
    plain = {"app": "glaciers", "name": "page", "acquire": {"sources": [{"images": "image.tif"}]}}
    for block in blocks(page):
        if block.language == "toml":
            content = tomllib.loads(block.text)
            if "products" in content:
                parse_sensor(block.text, name_of(page))
            elif "project" not in content:
                validate({**plain, **content}, f"{name_of(page)} line {block.line}")


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith(("http:", "https:")):
            assert target.startswith(ALLOWED_URLS), target
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        assert file.exists(), f"{name_of(page)} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w]+", "-", heading.lower()).strip("-") for heading in headings}, target


@every_page
def test_nothing_points_outside(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [url for url in re.findall(r"https?://[^\s)>\"'`]+", text) if not url.startswith(ALLOWED_URLS)] == []
    assert re.findall(r"(?<![\w.:*/])/(?:home|root|tmp|opt|usr|mnt|var|work|data|Users)\b[^\s`]*|\b[A-Z]:\\\w+", text) == []


def test_every_module_named_exists() -> None:
    source = ROOT / "src"
    for page in PAGES:
        named = re.findall(r"(?:^::: |`)(vigie(?:\.\w+)+)", page.read_text(encoding="utf-8"), re.MULTILINE)
        for module in named:
            parts = module.split(".")
            places = [source.joinpath(*parts[:depth]) for depth in (len(parts), len(parts) - 1)]
            known = any(place.is_dir() or place.with_suffix(".py").is_file() for place in places)
            assert known or module in {"vigie.apps", "vigie.sensors", "vigie.networks"}, f"{name_of(page)}: {module}"


def test_site_builds_without_a_warning(tmp_path: Path) -> None:
    build = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert build.returncode == 0, build.stderr
    assert "WARNING" not in build.stderr
    assert (tmp_path / "site" / "reference" / "index.html").is_file()
