"""What the values in old ComfyUI_ExtraModels workflows mean here."""

from __future__ import annotations

from dataclasses import dataclass

from .buckets import table_of
from .checkpoint.detect import AUTO


@dataclass(frozen=True)
class OldModel:
    """One of that pack's kinds of checkpoint."""

    variant: str
    """The variant that it stands for, where the file itself does not tell."""
    table: int
    """Side in pixels of the square whose table of sizes belongs to it."""
    with_control: bool = False
    """Whether the file holds a ControlNet beside the model."""


OLD_MODELS = {
    "PixArtMS_XL_2": OldModel("alpha-1024", 1024),
    "PixArtMS_Sigma_XL_2": OldModel("sigma-1024", 1024),
    "PixArtMS_Sigma_XL_2_512": OldModel("sigma-512", 512),
    "PixArtMS_Sigma_XL_2_900M": OldModel("sigma-1024", 1024),
    "PixArtMS_Sigma_XL_2_2K": OldModel("sigma-2k", 2048),
    "PixArt_XL_2": OldModel("alpha-512", 512),
    "ControlPixArtHalf": OldModel("alpha-512", 512, with_control=True),
    "ControlPixArtMSHalf": OldModel("alpha-1024", 1024, with_control=True),
}

OLD_TABLES = {
    **{name: old.table for name, old in OLD_MODELS.items() if not old.with_control},
    **{"PixArt 512": 512, "PixArt 1024": 1024, "PixArt 2K": 2048},
}
"""Names under which its versions offered tables of sizes."""

OLD_PRECISIONS = {
    "default": AUTO,
    "auto (comfy)": AUTO,
    "auto": AUTO,
    "FP32": "fp32",
    "FP16": "fp16",
    "BF16": "bf16",
    "FP8 E4M3": "fp8",
    "FP8 E5M2": "fp8",
    "bnb8bit": "8-bit (bitsandbytes)",
    "bnb4bit": "4-bit (bitsandbytes)",
}

OLD_DEVICES = ("auto", "cpu", "gpu")
"""It offered ``cuda:1`` and so on too, on machines that have them."""

OLD_RATIOS: dict[str, int] = {
    f"{bucket.height / bucket.width:.2f}": index for index, bucket in enumerate(table_of(1024))
}
"""Its labels of the sizes, and which row of a table each is."""


def old_size(table: str, ratio: str) -> tuple[int, int]:
    """Return the width and height that a label stood for in a table.

    The labels are those of PixArt's tables, height to width; that pack took the height for the
    width. So 0.52 is 704 wide and 1344 high, which was not trained.
    """
    bucket = table_of(OLD_TABLES[table])[OLD_RATIOS[ratio]]
    return bucket.height, bucket.width
