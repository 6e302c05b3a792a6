"""What the configurations beside a model tell of it, where its tensors cannot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open

from ..json_text import read_json
from ..variants import LATENT_PIXEL, VAES, VARIANTS, Family, Solver
from .source import SAFETENSORS, Source

NOTE = "pixart_variant"
"""Under it our conversion keeps the variant in a file's metadata. The host keeps no metadata of
ours; in what it saves, an empty tensor ``pixart_variant.NAME`` says it."""

_FAMILY_BY_SCALE: dict[float, Family] = dict(zip(VAES, ("alpha", "sigma"), strict=True))
_FAMILY_BY_TOKENS: dict[int, Family] = {120: "alpha", 300: "sigma"}
_SOLVERS: dict[str, Solver] = {"LCMScheduler": "LCM"}
"""DMD ships with a DDPMScheduler, but so does much that is no DMD."""
_CLASSES = ("PixArtTransformer2DModel", "Transformer2DModel", None)
"""Classes that a PixArt's ``config.json`` names, if it names one."""
_LARGEST_CONFIG = 1_000_000


@dataclass(frozen=True)
class Hints:
    """Facts from configurations; None where they do not say."""

    family: Family | None = None
    sample_size: int | None = None
    """Trained side in pixels."""
    solver: Solver | None = None
    name: str | None = None
    """The variant itself, where our own conversion wrote it into the file."""
    is_family_sure: bool = True
    """False where only the position grid's configuration tells it: converters differ there."""


def read_hints(source: Source, names: Iterable[str]) -> Hints:
    """Read the file's own note, ``config.json``, and the rest of a diffusers pipeline around it.

    ``names`` are those of its tensors. A file that is not there, or is not what it should be,
    tells nothing.
    """
    noted = _named_variant(names) or _noted_variant(source.files[0])
    if noted is not None or source.folder is None:
        return Hints(name=noted)
    folder = source.folder
    config = _read(folder / "config.json")
    if config.get("_class_name") not in _CLASSES:
        # Some other model's, in a folder of many.
        config = {}
    pipeline = folder.parent if folder.name == "transformer" else folder
    sample_size = _whole(config.get("sample_size"))
    scheduler = _read(pipeline / "scheduler" / "scheduler_config.json").get("_class_name")
    family = _family(pipeline)
    return Hints(
        family=family or _family_by_grid(config),
        sample_size=sample_size and sample_size * LATENT_PIXEL,
        solver=_SOLVERS.get(str(scheduler)),
        is_family_sure=family is not None,
    )


def _family(pipeline: Path) -> Family | None:
    """Ask the VAE, the tokenizer and the pipeline's class.

    An Alpha pipeline tells nothing: Sigma's own converter wrote that class too.
    """
    scale = _read(pipeline / "vae" / "config.json").get("scaling_factor")
    tokenizer = _read(pipeline / "tokenizer" / "tokenizer_config.json").get("model_max_length")
    index = _read(pipeline / "model_index.json").get("_class_name")
    is_sigma = index == "PixArtSigmaPipeline"
    return (
        _FAMILY_BY_SCALE.get(scale if isinstance(scale, float) else 0.0)
        or _FAMILY_BY_TOKENS.get(_whole(tokenizer) or 0)
        or ("sigma" if is_sigma else None)
    )


def _family_by_grid(config: dict[str, Any]) -> Family | None:
    """Tell by ``interpolation_scale``, which only Sigma's configurations give.

    At 256 px it must be 0.5 for Sigma: 1 is the default that a file of alpha may have written.
    """
    scale = config.get("interpolation_scale")
    if not isinstance(scale, int | float):
        return "alpha" if "sample_size" in config else None
    return "alpha" if config.get("sample_size") == 32 and scale == 1 else "sigma"


def is_note(name: str) -> bool:
    """Whether a tensor is there for its name alone."""
    return name.startswith(f"{NOTE}.")


def _named_variant(names: Iterable[str]) -> str | None:
    noted = (name.removeprefix(f"{NOTE}.") for name in names if is_note(name))
    return next((name for name in noted if name in VARIANTS), None)


def _noted_variant(file: Path) -> str | None:
    if file.suffix.lower() not in SAFETENSORS:
        return None
    with safe_open(file, framework="pt") as opened:
        noted = (opened.metadata() or {}).get(NOTE)
    return noted if noted in VARIANTS else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 < value < 10_000 else None


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST_CONFIG:
            return {}
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
