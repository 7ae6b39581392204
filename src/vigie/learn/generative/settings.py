"""Generative retrievals by their settings: which generator, which network, how many steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from pydantic import BaseModel, Field, PositiveInt, model_validator

from vigie.learn.generative.denoiser import Denoiser, FootprintDenoiser, UNetDenoiser
from vigie.learn.generative.diffusion import Diffusion
from vigie.learn.generative.flow import FlowMatching
from vigie.learn.generative.generator import Generator


class GenerativeSettings(BaseModel, extra="forbid", frozen=True):
    """How members of rain are generated, and by which network."""

    generator: Literal["flow", "diffusion"] = Field(
        default="flow", description="'flow' matching along straight lines, or 'diffusion' (v-prediction, DDIM)"
    )
    steps: PositiveInt = Field(
        default=16, description="steps from noise to a member; 'flow' asks the network twice a step, 'diffusion' once"
    )
    levels: PositiveInt = Field(default=1000, description="noise levels at which 'diffusion' learns")
    name: Literal["pixel", "unet"] = Field(
        default="unet", description="network: 'pixel', each footprint alone, or 'unet', the image around"
    )
    hidden: tuple[PositiveInt, ...] = Field(
        default=(128, 128, 128), min_length=1, description="widths of the hidden layers of 'pixel'"
    )
    widths: tuple[PositiveInt, ...] = Field(
        default=(32, 64, 128), min_length=1, description="channels of each level of 'unet', finest first"
    )
    batch: PositiveInt = Field(default=64, description="images that the network sees at once when members are drawn")

    @model_validator(mode="after")
    def _steps_have_levels(self) -> GenerativeSettings:
        if self.generator == "diffusion" and self.steps > self.levels:
            raise ValueError(f"a diffusion of {self.levels} levels cannot take {self.steps} steps")
        return self

    @property
    def looks(self) -> int:
        """How many times the network is asked about a member."""
        return 2 * self.steps if self.generator == "flow" else self.steps


def build_generator(settings: GenerativeSettings) -> Generator:
    """Build the generator that the settings name.

    Examples
    --------
    >>> build_generator(GenerativeSettings(generator="diffusion", steps=25))
    Diffusion(levels=1000, steps=25, ...)
    """
    return GENERATORS[settings.generator](settings)


def build_denoiser(settings: GenerativeSettings, conditions: int) -> Denoiser:
    """Build the network that the settings name, for conditions of so many maps and rain as its only target.

    Examples
    --------
    >>> type(build_denoiser(GenerativeSettings(name="pixel"), conditions=26)).__name__
    'FootprintDenoiser'
    """
    return DENOISERS[settings.name](settings, conditions)


GENERATORS: Mapping[str, Callable[[GenerativeSettings], Generator]] = {
    "flow": lambda settings: FlowMatching(settings.steps, batch=settings.batch),
    "diffusion": lambda settings: Diffusion(settings.levels, settings.steps, batch=settings.batch),
}

DENOISERS: Mapping[str, Callable[[GenerativeSettings, int], Denoiser]] = {
    "pixel": lambda settings, conditions: FootprintDenoiser(conditions, widths=settings.hidden),
    "unet": lambda settings, conditions: UNetDenoiser(conditions, widths=settings.widths),
}
