"""What can be chosen about prediction."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator


class PredictSettings(BaseModel):
    """How a model runs over scenes of any size."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    patch: int = Field(default=256, ge=32, description="side of the square the network sees at once, pixels")
    overlap: int = Field(
        default=64, ge=0, validate_default=True, description="pixels that neighbouring patches share and blend; less than patch"
    )
    batch: int = Field(default=4, ge=1, description="patches a GPU takes at once; a CPU takes one for each of its threads")
    lines: int = Field(
        default=512, ge=32, description="height of a tile, pixels: the chunk of the store and the step of resuming"
    )
    panel: int = Field(
        default=8192, ge=512, multiple_of=512, description="width of a tile, pixels: bounds the memory of wide scenes"
    )
    precision: Literal["32-true", "bf16-mixed"] = Field(default="32-true", description="'32-true' or 'bf16-mixed'")
    device: str = Field(default="auto", description="'auto' takes a GPU where there is one; or 'cpu', 'cuda', 'cuda:1'")
    memory_gib: float = Field(default=4.0, gt=0, description="refuse work whose tile would need more, GiB")

    @field_validator("overlap")
    @classmethod
    def _smaller_than_a_patch(cls, overlap: int, info: ValidationInfo) -> int:
        patch = info.data.get("patch", overlap + 1)
        if overlap >= patch:
            raise ValueError(f"fewer pixels than predict.patch = {patch}")
        return overlap

    @field_validator("device")
    @classmethod
    def _known(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
            raise ValueError("'auto', 'cpu', 'cuda', or one GPU of several such as 'cuda:1'")
        return device
