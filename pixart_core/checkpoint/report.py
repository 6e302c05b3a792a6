"""What a model file is, in words and as data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ..variants import VAES
from .foreign import some
from .opening import OpenedModel

DTYPE_NAMES = {
    torch.float32: "fp32",
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.float8_e4m3fn: "fp8_e4m3fn",
    torch.float8_e5m2: "fp8_e5m2",
}

_VAE_CHANNELS = 4


@dataclass(frozen=True)
class ModelReport:
    """Everything that can be told of a model without computing with it."""

    name: str
    family: str
    variant: str
    ground: str
    ambiguous: bool
    """Whether the tensors allow more than one variant, and nothing else told which."""
    possible: tuple[str, ...]
    depth: int
    hidden_size: int
    in_channels: int
    out_channels: int
    tokens: int
    sample_size: int
    """Trained side in pixels."""
    size_conditions: bool
    position_range: int
    latent_scale: float
    vae: str
    qk_norm: bool
    kv_compression: str
    steps: int
    guidance: float
    solver: str
    layout: str
    dtype: str
    files: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[str, ...]
    notices: tuple[str, ...]
    usable: bool
    """Whether the loader would take it, as far as can be told without reading all of it."""
    verdict: str

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return asdict(self)

    def as_text(self) -> str:
        """Return the report as lines for people."""
        rows = {
            "variant": f"{self.variant}, by {self.ground}",
            "trained for": f"{self.sample_size} × {self.sample_size} pixels, "
            f"prompts of {self.tokens} tokens",
            "network": f"{self.depth} blocks, {self.hidden_size} wide, "
            f"{self.in_channels} channels in, {self.out_channels} out"
            + (", with size conditions" if self.size_conditions else "")
            + (", with normed queries and keys" if self.qk_norm else "")
            + (f", with {self.kv_compression}" if self.kv_compression else ""),
            "positions": f"0 to {self.position_range}",
            "VAE": f"{self.vae}, latents × {self.latent_scale}",
            "usual settings": f"{self.solver}, {self.steps} steps, guidance {self.guidance}",
            "file": f"{self.layout} layout, {self.dtype}, {', '.join(self.files)}",
            "missing": some(self.missing),
            "unexpected": some(self.unexpected),
            "misshapen": some(self.misshapen),
            "note": " ".join(self.notices),
            "verdict": self.verdict,
        }
        lines = [f"  {name:14} {value}" for name, value in rows.items() if value]
        return "\n".join([self.name, *lines])


def report_on(model: OpenedModel) -> ModelReport:
    """Describe an opened model; its tensors are not read where they are mapped."""
    info, network = model.info, model.info.network
    variant, differences = info.variant, model.completeness()
    usable = differences.is_complete and model.has_weights()
    compression = network.kv_compression
    return ModelReport(
        name=model.name,
        family=variant.family,
        variant=variant.name,
        ground=info.ground,
        ambiguous=info.is_guess,
        possible=info.possible,
        depth=network.depth,
        hidden_size=network.hidden_size,
        in_channels=network.in_channels,
        out_channels=network.out_channels,
        tokens=variant.tokens,
        sample_size=variant.sample_size,
        size_conditions=network.size_conditions,
        position_range=network.position_range,
        latent_scale=variant.latent_scale,
        vae=VAES[variant.latent_scale],
        qk_norm=network.qk_norm,
        kv_compression=f"keys and values compressed by {compression.mode} {compression.factor}"
        if compression
        else "",
        steps=variant.steps,
        guidance=variant.guidance,
        solver=variant.solver,
        layout=model.layout,
        dtype=_dtype_name(model.checkpoint.tensors),
        files=tuple(file.name for file in model.checkpoint.source.files),
        missing=differences.missing,
        unexpected=differences.unexpected,
        misshapen=differences.misshapen,
        notices=model.notices,
        usable=usable,
        verdict=_verdict(model, usable),
    )


def guess_notice(model: OpenedModel) -> str:
    """Say that the variant was guessed, and which are possible; empty where it was not."""
    if not model.info.is_guess:
        return ""
    return (
        f"{model.name} may be any of {', '.join(model.info.possible)}, and nothing in or beside "
        f"it tells which; it is taken for {model.info.variant.name}. If pictures look wrong, set "
        "the variant (in Load PixArt Model; on the command line with --variant)."
    )


def _verdict(model: OpenedModel, usable: bool) -> str:
    if not usable:
        return "It cannot be loaded: it is damaged or of a kind that is not supported."
    network, variant = model.info.network, model.info.variant
    if network.in_channels != _VAE_CHANNELS:
        return f"It can be loaded; it needs a VAE of {network.in_channels} channels."
    return guess_notice(model) or f"It can be loaded. Use it with {VAES[variant.latent_scale]}."


def _dtype_name(tensors: Mapping[str, Tensor]) -> str:
    """Return the name of the type that most weights have."""
    counts: Counter[torch.dtype] = Counter()
    for tensor in tensors.values():
        counts[tensor.dtype] += tensor.numel()
    dtype = counts.most_common(1)[0][0]
    return DTYPE_NAMES.get(dtype, str(dtype).removeprefix("torch."))
