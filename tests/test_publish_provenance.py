"""Provenance: complete, hashable, flat where a format needs it."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vigie.core.errors import VigieError
from vigie.core.scene import Band, Scene
from vigie.publish.provenance import flat, provenance, sha256

NOW = datetime(2026, 1, 2, 12, tzinfo=timezone(timedelta(hours=2)))
SCENE = Scene(
    "s",
    "kh9",
    None,
    (Band("pan", "pan", "a.tif", 1, 6.0, "1"),),
    "EPSG:32627",
    (1, 0, 0, 0, -1, 0),
    (1, 1),
    {},
    sha256={"a.tif": "ab"},
)


def test_the_record_says_where_a_product_comes_from(tmp_path):
    (tmp_path / "catalog.parquet").write_bytes(b"x")
    record = provenance('{"seed": 3}', created=NOW, catalogue=tmp_path / "catalog.parquet", model=tmp_path, scenes=[SCENE])
    assert record["created"] == "2026-01-02T10:00:00Z"
    assert record["catalogue_sha256"] == hashlib.sha256(b"x").hexdigest()
    assert record["inputs"][0]["sha256"] == {"a.tif": "ab"}
    assert record["experiment"] == {"seed": 3}
    assert "numpy" in record["libraries"]
    assert json.loads(json.dumps(record)) == record


def test_a_folder_changes_its_hash_with_any_name_or_byte(tmp_path):
    hashes = set()
    for name, content in (("a", "1"), ("a", "2"), ("b", "2")):
        folder = tmp_path / f"{name}{content}"
        folder.mkdir()
        (folder / name).write_text(content)
        hashes.add(sha256(folder))
    assert len(hashes) == 3


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"experiment": "{", "created": NOW}, "not JSON"),
        ({"experiment": "{}", "created": NOW.replace(tzinfo=None)}, "zone"),
    ],
)
def test_bad_records_are_refused(arguments, problem):
    with pytest.raises(VigieError, match=problem):
        provenance(arguments["experiment"], created=arguments["created"])


def test_nothing_to_hash_is_said(tmp_path):
    with pytest.raises(VigieError, match="nothing to hash"):
        sha256(tmp_path / "no")


VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab_", min_size=1, max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), VALUES, max_size=4))
def test_tags_are_text_under_upper_case_names(record):
    for name, value in flat(record).items():
        assert name.startswith("VIGIE_")
        assert name == name.upper()
        assert isinstance(value, str)


def test_the_experiment_stays_whole_in_the_tags():
    tags = flat(provenance('{"train": {"steps": 2}}', created=datetime(2026, 1, 2, tzinfo=UTC)))
    assert json.loads(tags["VIGIE_EXPERIMENT"]) == {"train": {"steps": 2}}
