"""Files with random weights that are measured: at the released size, or one block of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from devtools.environment import ROOT
from devtools.reference import FAMILIES, FULL, ReferenceFamily, Scale

ONE_BLOCK = Scale(16, 1, 4096)
"""As wide as the released models: the host's own loads no other width."""


@dataclass(frozen=True)
class Model:
    """A denoiser and where its file lies."""

    family: ReferenceFamily
    scale: Scale

    @property
    def path(self) -> Path:
        """The file."""
        size = "full" if self.scale is FULL else "one-block"
        return ROOT / ".cache" / "bench" / f"PixArt-{self.family.name}-{size}.safetensors"


def model_of(small: bool) -> Model:
    """Return the denoiser that is measured, alpha at 512 px."""
    (family,) = (family for family in FAMILIES if family.name == "alpha-512")
    return Model(family, ONE_BLOCK if small else FULL)


def written(model: Model) -> Path:
    """Write the file, once, and return it."""
    from safetensors.torch import save_file

    from devtools.reference import diffusers_transformer
    from pixart_core.checkpoint.layouts import to_original
    from pixart_core.writing import written as whole

    if not model.path.exists():
        model.path.parent.mkdir(parents=True, exist_ok=True)
        tensors = to_original(diffusers_transformer(model.family, model.scale).state_dict())
        with whole(model.path) as draft:
            save_file({key: value.contiguous() for key, value in tensors.items()}, draft)
    return model.path
