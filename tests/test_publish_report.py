"""The report: one file, nothing from outside, everything escaped, the best score marked."""

from __future__ import annotations

import base64
import errno
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from vigie.core.errors import VigieError
from vigie.publish.charts import reliability_chart
from vigie.publish.provenance import provenance
from vigie.publish.report import (
    Column,
    Estimate,
    Listing,
    Measure,
    Note,
    Number,
    Report,
    ReportFigure,
    ScoreTable,
    Section,
    Table,
    render,
    write_report,
)
from vigie.publish.sections import model_section, provenance_section, reproduce_section

EVIL = "<script>alert(1)</script>&\"'<img src=http://evil.example/x.png>"


class Page(HTMLParser):
    """Collects what a browser would act on."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in ("meta", "img", "source", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.words.append(data)


def chart(theme):
    return reliability_chart([0.2, 0.8], [0.25, 0.7], [5, 9], "Reliability", theme)


SCORES = ScoreTable(
    "Debris",
    (Measure("IoU", target=0.56), Measure("ECE", "lower")),
    {
        "ours": {"IoU": Estimate(0.583, 0.552, 0.611), "ECE": Estimate(0.024)},
        "forest": {"IoU": Estimate(0.533), "ECE": Estimate(0.021)},
        "none": {},
    },
    ours=("ours",),
)
FIGURES = (ReportFigure(chart, "A chart", "reliability", "svg"), ReportFigure(chart, "A picture", "reliability"))
GLACIERS = Table("Largest", (Column("name"), Column("km²", ".2f")), (("Khumbu", 19.1), (None, 2.0)))
REPORT = Report(
    "Everest", "All well.", [Section("Scores", "One.\n\nTwo.", FIGURES, (GLACIERS,), (SCORES,))], (Number("ice", "19 km²"),)
)


@pytest.fixture(scope="module")
def page() -> str:
    return render(REPORT)


def everything_evil() -> Report:
    figure = ReportFigure(chart, EVIL, EVIL, "svg")
    table = Table(EVIL, (Column(EVIL),), ((EVIL,),), EVIL)
    folded = Table(EVIL, (Column(EVIL),), ((EVIL,),), EVIL, folded=True)
    scores = ScoreTable(EVIL, (Measure(EVIL),), {EVIL: {EVIL: Estimate(0.5)}}, note=EVIL)
    notes, listings = (Note(EVIL), Note(EVIL, "warning")), (Listing(EVIL, EVIL), Listing(EVIL, EVIL, folded=False))
    section = Section(EVIL, EVIL, (figure,), (table, folded), (scores,), notes, listings)
    return Report(EVIL, EVIL, [section], (Number(EVIL, EVIL, EVIL),), EVIL, EVIL)


def test_everything_is_escaped():
    text = render(everything_evil())
    page = Page(text)
    assert "script" not in {tag for tag, _ in page.tags}
    assert all(attrs["src"].startswith("data:image/") for tag, attrs in page.tags if tag == "img")
    assert "<script" not in text
    assert page.open == []


def test_nothing_comes_from_outside(page):
    parsed = Page(page)
    assert {tag for tag, _ in parsed.tags} & {"script", "link", "iframe", "object", "embed"} == set()
    for tag, attributes in parsed.tags:
        for name in ("src", "srcset", "href", "data", "action"):
            value = attributes.get(name, "data:")
            assert value.startswith(("data:", "#")), f"{tag} {name}={value[:60]}"
    text = re.sub(r"data:image/[a-z+]+;base64,[A-Za-z0-9+/=]+", "", page)
    assert "http://" not in text
    assert "https://" not in text
    assert "url(" not in text
    policy = next(a["content"] for tag, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy


def test_pictures_are_there_in_both_themes_and_always_the_same(page):
    uris = re.findall(r"data:image/([a-z+]+);base64,([A-Za-z0-9+/=]+)", page)
    assert [kind for kind, _ in uris] == ["svg+xml", "svg+xml", "webp", "webp"]
    content = [base64.b64decode(data) for _, data in uris]
    assert content[0].startswith(b"<?xml")
    assert content[2][8:12] == b"WEBP"
    assert len(set(content)) == 4
    assert render(REPORT) == page


def test_the_best_of_each_measure_is_marked(page):
    rows = re.findall(r'<tr(?: class="ours")?><th scope="row">(.*?)</th>(.*?)</tr>', page, re.S)
    marked = {name: [bool("best" in cell) for cell in re.findall(r"<td(.*?)>", cells)] for name, cells in rows}
    assert marked == {"ours": [True, False], "forest": [False, True], "none": [False, False]}
    assert SCORES.scale(SCORES.measures[0]) == 0.611


def test_what_reads_alike_is_equally_good():
    first, second = {"IoU": Estimate(0.58312)}, {"IoU": Estimate(0.58309)}
    table = ScoreTable("Debris", (Measure("IoU"),), {"ours": first, "forest": second})
    assert render(Report("R", "", [Section("S", scores=(table,))])).count('title="best"') == 2
    alone = ScoreTable("Debris", (Measure("IoU"),), {"ours": first, "none": {}})
    assert render(Report("R", "", [Section("S", scores=(alone,))])).count('title="best"') == 0


def test_methods_have_titles_and_keep_their_names_and_notes_are_said_once():
    measures, scores = (Measure("iou", title="IoU"),), {"ours": {"iou": Estimate(0.5)}, "rf-4": {"iou": Estimate(0.4)}}
    tables = tuple(ScoreTable(name, measures, scores, note="So decided.", titles={"rf-4": "forest"}) for name in "ab")
    page = render(Report("R", "", [Section("S", scores=tables)]))
    assert page.count('<th scope="row">forest<code>rf-4</code></th>') == page.count('<th scope="row">ours</th>') == 2
    assert page.count("So decided.") == page.count("★ best") == 1
    assert '<th scope="col">IoU ' in page


def test_common_sections_show_their_record(tmp_path):
    (tmp_path / "m").write_text("x")
    record = provenance('{"a": 1}', created=datetime(2026, 1, 2, tzinfo=UTC), model=tmp_path / "m", licence="CC-BY-4.0")
    sections = [
        model_section({"network": "U-Net"}),
        provenance_section(record, 'app = "glaciers"'),
        reproduce_section(["vigie run a.toml"], {"train": 3.25}),
    ]
    words = " ".join(Page(render(Report("R", "", sections))).words)
    for expected in ("U-Net", record["model_sha256"], 'app = "glaciers"', "vigie run a.toml", "3.2", "CC-BY-4.0"):
        assert expected in words


def test_bad_reports_are_refused(tmp_path):
    with pytest.raises(VigieError, match="ragged"):
        Table("t", (Column("a"),), (("x", "y"),))
    with pytest.raises(VigieError, match="same title"):
        render(Report("R", "", [Section("A"), Section("A")]))


def test_a_full_disk_leaves_the_old_page(tmp_path, monkeypatch):
    page = tmp_path / "report.html"
    page.write_text("old")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(VigieError, match="room"):
            write_report(Report("R", "", []), page)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("report.html", "old")]
