"""Samples: from a mirror folder or by URL, always checked by sha256; patterns; a closed network."""

from __future__ import annotations

import gzip
import hashlib
import socket
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from vigie.acquire import samples
from vigie.acquire.samples import Sample, fetch, registry, resolve
from vigie.core.errors import VigieError

BODY = b"a,b\n1,2\n"


def sample(url: str, derivation: str = "", name: str = "glaciers/x/table.csv", digest: str = "") -> Sample:
    digest = digest or hashlib.sha256(BODY).hexdigest()
    return Sample(name, len(BODY), digest, url, digest, derivation, "MIT")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


@pytest.fixture
def server(tmp_path):
    """A web server on the loopback that gives one file."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www/table.csv").write_bytes(BODY)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "www")) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/table.csv"
        http.shutdown()
        thread.join()


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """No mirror folder, an empty cache; gives a function that sets the registry."""
    monkeypatch.delenv(samples.FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr(samples, "cache_folder", lambda: tmp_path / "cache")
    return lambda *entries: monkeypatch.setattr(samples, "registry", lambda: {entry.path: entry for entry in entries})


def test_registry_is_complete_and_pinned():
    known = registry()
    assert len(known) == 143
    for path, entry in known.items():
        assert path.startswith(("glaciers/", "precipitation/", "seaice/"))
        assert len(entry.sha256) == 64 and entry.bytes > 0 and entry.licence
        assert entry.url.startswith("https://") and (entry.source_sha256 or entry.derivation)
        assert entry.derivation or entry.sha256 == entry.source_sha256


@pytest.mark.realdata
def test_registry_matches_the_mirror(samples, monkeypatch):
    monkeypatch.setenv("VIGIE_SAMPLES", str(samples))
    assert fetch("glaciers/kh9_iceland/fixed_cross.png").stat().st_size == 607146
    assert len(resolve("sample:glaciers/debris_labels_only/label*.tif")) == 59
    (shapefile,) = resolve("sample:glaciers/rgi/rgi7c_hef.shp")
    assert shapefile.with_suffix(".dbf").is_file()


def test_unknown_samples_name_the_nearest():
    with pytest.raises(VigieError, match=r"did you mean 'glaciers/rgi/rgi7c_hef\.shp'"):
        resolve("sample:glaciers/rgi/rgi7_hef.shp")
    with pytest.raises(VigieError, match="is unknown"):
        fetch("glaciers/nothing.tif")


def test_mirror_folder_is_checked(tmp_path, monkeypatch):
    monkeypatch.setenv(samples.FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(VigieError, match="not in the samples folder"):
        fetch("glaciers/rgi/rgi7c_hef.cpg")
    (tmp_path / "glaciers/rgi").mkdir(parents=True)
    (tmp_path / "glaciers/rgi/rgi7c_hef.cpg").write_bytes(b"ISO-8859-X")
    with pytest.raises(VigieError, match=r"not the registered sample; found sha256 .* 10 bytes; expected sha256"):
        fetch("glaciers/rgi/rgi7c_hef.cpg")


def test_fetch_from_the_network_then_from_the_cache(server, alone):
    alone(sample(server))
    path = fetch("glaciers/x/table.csv")
    assert path.read_bytes() == BODY
    alone(sample("http://127.0.0.1:9/table.csv"))
    assert fetch("glaciers/x/table.csv") == path


def test_a_compressed_sample_is_made_from_its_source(server, alone):
    alone(sample(server, "gzip of the original", "glaciers/x/table.csv.gz"))
    path = fetch("glaciers/x/table.csv.gz")
    assert (path.name, gzip.decompress(path.read_bytes())) == ("table.csv.gz", BODY)
    first = path.read_bytes()
    assert fetch("glaciers/x/table.csv.gz").read_bytes() == first


def test_derived_samples_need_the_mirror(alone):
    alone(sample("http://127.0.0.1:9/x", "DERIVED: subset"))
    with pytest.raises(VigieError, match="VIGIE_SAMPLES to a folder that holds it"):
        fetch("glaciers/x/table.csv")


def test_a_source_that_changed_is_refused(server, alone, tmp_path):
    alone(sample(server, digest="0" * 64))
    with pytest.raises(VigieError, match="is not the registered sample"):
        fetch("glaciers/x/table.csv")
    assert not list((tmp_path / "cache").rglob("*.csv"))


def test_a_closed_network_is_one_clear_line(alone):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    alone(sample(f"http://127.0.0.1:{port}/table.csv"))
    with pytest.raises(VigieError, match="no network, or the address has gone") as caught:
        fetch("glaciers/x/table.csv")
    assert "\n" not in str(caught.value)
