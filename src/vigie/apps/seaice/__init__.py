"""Sea ice: short forecasts of the Arctic that say how sure they are."""

from __future__ import annotations

from vigie.apps.seaice import fields, prediction, publish, training, verification
from vigie.apps.seaice.demo import demo
from vigie.apps.seaice.settings import SeaIceExperiment
from vigie.story.app import App

app = App(
    name="seaice",
    summary="forecasts of sea ice, days to two weeks ahead, with members and the probability of ice",
    settings=SeaIceExperiment,
    acquire=fields.acquire,
    harmonize=fields.harmonize,
    train=training.train,
    predict=prediction.predict,
    verify=verification.verify,
    publish=publish.publish,
    demo=demo,
)
"""The experiment: six functions, in order."""
