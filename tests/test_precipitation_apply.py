"""`vigie apply` with a retrieval: somebody's own swaths to the same products, and what is refused in one line."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import xarray as xr

from vigie.apps.precipitation import app
from vigie.apps.precipitation.demo import experiment
from vigie.cli import main
from vigie.harmonize.swath import SwathReader
from vigie.learn.retrieval_model import load
from vigie.physics.antenna import observe
from vigie.predict.swath import Kept, retrieved
from vigie.story.app import perform
from vigie.story.run import Run
from vigie.synthetic.orbit import Granule, make_swath, save_swath
from vigie.synthetic.rain import Climate

LEVELS = [k / 20 for k in range(1, 20)]


def orbit(number, **changes):
    granule = Granule(f"orbit-{number}", number, f"2020-01-0{number + 1}T06:00:00", 10.0 + number, 10.0, 20, 12)
    return make_swath(granule, observe).assign_attrs(**changes)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The run folder of a small model."""
    folder = tmp_path_factory.mktemp("orbits")
    save_swath(
        folder / "orbit-0.nc",
        make_swath(Granule("a", 0, "2020-01-01T06:00:00", 10.0, 10.0, 20, 12, Climate(wet_fraction=0.4)), observe),
    )
    content = experiment(folder)
    content["train"] |= {
        "folds": {"by": "none"},
        "final": True,
        "network": {"name": "pixel", "hidden": [8]},
        "head": {"levels": LEVELS},
        "windows": {"size": 1, "batch": 64},
        "fit": {"steps": 20, "learning_rate": 1e-2, "warmup_steps": 5},
    }
    run = Run(app.settings.model_validate(content), tmp_path_factory.mktemp("runs") / "small")
    perform(app, run, ("acquire", "harmonize", "train"))
    return run.folder


@pytest.fixture
def own(tmp_path):
    """A swath with rain rates, one without, and one of other channels."""
    folder = tmp_path / "own"
    folder.mkdir()
    save_swath(folder / "labelled.nc", orbit(1))
    bare = orbit(2).drop_vars(["truth", "phase"])
    del bare.attrs["label_source"]
    save_swath(folder / "bare.nc", bare)
    strange = bare.isel(channel=[0])
    strange = strange.assign_coords(channel=["1.41V"], frequency_ghz=("channel", [1.41]))
    save_swath(folder / "strange.nc", strange)
    save_swath(folder / "radar.nc", orbit(1).isel(channel=[]))
    (folder / "notes.txt").write_text("rain")
    return folder


@pytest.fixture
def vigie(capsys):
    def command(*words):
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([*map(str, words)])
        return left.value.code, capsys.readouterr().err

    return command


@pytest.mark.parametrize("place", ["", "model", "model/all"])
def test_own_swaths_are_retrieved_by_the_final_model(vigie, trained, own, tmp_path, place):
    out = tmp_path / "mine"
    assert vigie("apply", trained / place, own / "labelled.nc", own / "bare.nc", "--out", out, "--quiet") == (None, "")
    model = load(trained / "model" / "all")
    for name in ("labelled", "bare"):
        rain = xr.load_dataset(out / "products" / name / "rain.nc", engine="h5netcdf")
        swath = SwathReader(out / "cube.zarr", f"swath/{name}")({})
        expected = retrieved(model, swath, model.inputs.channels, Kept(tuple(rain["quantile"].values.tolist())))
        np.testing.assert_allclose(rain["rainfall_rate_quantile"], expected["rainfall_rate_quantile"], rtol=1e-5, atol=1e-6)
        assert ("truth" in rain) is (name == "labelled")
        record = json.loads(rain.attrs["provenance"])
        assert "train" not in record["experiment"]
    page = (out / "products" / "report.html").read_text()
    assert f"vigie apply {trained / place}" in page and "Nothing was scored" in page
    assert (out / "products" / "climatology" / "all.nc").is_file()
    assert not (out / "scores.nc").exists()


REFUSED = {
    "elevation": (["bare.nc", "--dem", "dem.tif"], "'precipitation' makes no use of --dem; found --dem dem.tif; expected no"),
    "outlines": (["bare.nc", "--outlines", "a.gpkg"], "makes no use of --outlines"),
    "sensor and date": (["bare.nc", "--sensor", "gmi", "--date", "2020-01-01"], "makes no use of --sensor, --date"),
    "no swath": (["notes.txt"], "is no swath that vigie reads"),
    "no file": (["nowhere.nc"], "nowhere.nc does not exist"),
    "other channels": (["strange.nc"], "the model knows no channel of swath 'strange'; found 1.41V; expected 10.65V"),
    "radar": (["radar.nc"], "radar.nc holds no brightness temperature"),
    "other labels": (["labelled.nc", "--label-source", "dpr"], "its labels come from elsewhere; found simulated"),
    "twice": (["bare.nc", "bare.nc"], "swaths have the same name"),
    "unknown key": (["bare.nc", "--set", "publish.grid=2"], "unknown key 'publish.grid'"),
}


@pytest.mark.parametrize(("words", "told"), REFUSED.values(), ids=REFUSED)
def test_mistakes_are_one_line_and_leave_nothing(vigie, trained, own, tmp_path, words, told):
    files = [own / word if word.endswith((".nc", ".txt")) else word for word in words]
    code, err = vigie("apply", trained, *files, "--out", tmp_path / "mine", "--quiet")
    assert (code, err.count("\n")) == (2, 1)
    assert told in err and not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda card: card.pop("inputs"), "is not the card of a model; found no inputs"),
        (lambda card: card["facts"].update(origin={"app": "precipitatoin"}), "there is no application 'precipitatoin'"),
        (lambda card: card.update(format=1), "is of another version of vigie; found format 1"),
        (lambda card: next(iter(card["members"].values())).update(sha256="0" * 64), "are not those of the card"),
        (lambda card: card.update(facts=[]), "is not the card of a model"),
    ],
    ids=["no inputs", "unknown application", "other format", "other weights", "no facts"],
)
def test_a_card_that_does_not_fit_is_refused(vigie, trained, own, tmp_path, change, told):
    shutil.copytree(trained / "model" / "all", tmp_path / "model")
    card = json.loads((tmp_path / "model" / "card.json").read_text())
    change(card)
    (tmp_path / "model" / "card.json").write_text(json.dumps(card))
    code, err = vigie("apply", tmp_path / "model", own / "bare.nc", "--out", tmp_path / "mine", "--quiet")
    assert (code, err.count("\n")) == (2, 1)
    assert told in err and not (tmp_path / "mine").exists()


def test_a_swath_that_lacks_what_the_model_was_shown_is_refused(vigie, trained, own, tmp_path):
    shutil.copytree(trained / "model" / "all", tmp_path / "model")
    card = json.loads((tmp_path / "model" / "card.json").read_text())
    card["inputs"]["ancillary"] = ["elevation"]
    (tmp_path / "model" / "card.json").write_text(json.dumps(card))
    code, err = vigie("apply", tmp_path / "model", own / "bare.nc", "--out", tmp_path / "mine", "--quiet")
    assert (code, err.count("\n")) == (2, 1)
    assert "swath 'bare' lacks ancillary fields; found no elevation" in err and not (tmp_path / "mine").exists()


def test_a_model_of_maps_makes_no_use_of_labels_of_tables(vigie, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "card.json").write_text(json.dumps({"legend": {}, "facts": {}}))
    code, err = vigie("apply", folder, "a.tif", "--label-source", "dpr", "--out", tmp_path / "mine", "--quiet")
    assert code == 2 and "'glaciers' makes no use of --label-source" in err
