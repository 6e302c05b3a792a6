"""A PixArt transformer as an ordinary MODEL of the host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import comfy.conds
import comfy.latent_formats
import comfy.ldm.common_dit
import comfy.ldm.modules.attention
import comfy.model_base
import comfy.supported_models_base
import torch
from torch import Tensor

from ...pixart_core.checkpoint.detect import CheckpointInfo
from ...pixart_core.checkpoint.hints import NOTE
from ...pixart_core.errors import ConditioningError, SamplingError
from ...pixart_core.network import NetworkConfig, PixArtTransformer
from ...pixart_core.variants import LATENT_PIXEL, Variant
from .caption import CaptionCondition, check_rows, fit_caption
from .step import step_of

FAMILY = "pixart_family"
"""Beside a conditioning from a file: the family that it was encoded for."""


CONTROL_INPUT = "input"
"""Under it the host hands over what a ControlNet adds."""


class HostTransformer(PixArtTransformer):
    """The transformer with the call that the host makes."""

    def __init__(
        self,
        *,
        network: NetworkConfig,
        operations: Any,
        dtype: torch.dtype,
        device: torch.device | None = None,
        **_: Any,
    ) -> None:
        super().__init__(network, operations, host_attention, dtype, device)
        self.dtype = dtype

    def forward(  # type: ignore[override]
        self,
        x: Tensor,
        timesteps: Tensor,
        context: Tensor,
        caption_mask: Tensor | None = None,
        picture_size: Tensor | None = None,
        control: Any = None,
        transformer_options: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> Tensor:
        """Return the noise in ``x``, (B, C, H, W).

        A learned variance is given to our solver, if it is one that runs the model.
        """
        height, width = x.shape[-2:]
        step = step_of(transformer_options)
        if step is not None:
            timesteps = step.exact(timesteps)
        # The host's area nodes cut latents at any pixel, also in the middle of a patch.
        patches = comfy.ldm.common_dit.pad_to_patch_size(x, (self.config.patch_size,) * 2)
        skips = [] if control is None else control.get(CONTROL_INPUT, ())
        out = super().forward(
            patches, timesteps, context, caption_mask, picture_size, transformer_options, skips
        )
        out = out[..., :height, :width]
        channels = self.config.in_channels
        if step is not None and step.prompts and transformer_options is not None:
            step.keep(out[:, channels:], transformer_options["uuids"])
        return out[:, :channels]


class PixArtModel(comfy.model_base.PixArt):
    """The host's wrapper around the transformer.

    It is a subclass of the host's own PixArt only so that the host maps LoRA names onto it.
    """

    def __init__(self, config: PixArtModelConfig, variant: Variant) -> None:
        comfy.model_base.BaseModel.__init__(self, config, unet_model=HostTransformer)
        self.variant = variant

    def extra_conds(self, **kwargs: Any) -> dict[str, Any]:
        """Turn a conditioning into what the transformer takes."""
        _check_latent(kwargs["noise"], self.diffusion_model.config)
        out: dict[str, Any] = comfy.model_base.BaseModel.extra_conds(self, **kwargs)
        caption = kwargs.get("cross_attn")
        if caption is None:
            return out
        check_family(kwargs.get(FAMILY, ""), self.variant)
        width = self.diffusion_model.config.caption_channels
        check_rows(caption, kwargs["noise"])
        caption, mask = fit_caption(caption, kwargs.get("attention_mask"), width, self.variant)
        out["c_crossattn"] = CaptionCondition(caption)
        out["caption_mask"] = CaptionCondition(mask)
        # Whole numbers: the host would round fractional sizes to its compute precision.
        size = torch.tensor([[round(kwargs["height"]), round(kwargs["width"])]])
        out["picture_size"] = comfy.conds.CONDRegular(size)
        return out


def variant_of(model: Any) -> Variant | None:
    """Return the variant of a MODEL; None for a model of another kind."""
    return model.model.variant if isinstance(model.model, PixArtModel) else None


def require_variant(model: Any) -> Variant:
    """Return the variant of a MODEL; raise ConditioningError for a model of another kind."""
    variant = variant_of(model)
    if variant is None:
        raise ConditioningError(
            "The prompt cannot take its settings from this model",
            found=f"a {type(model.model).__name__}",
            expected="a model from Load PixArt Model",
            advice="Load the model with Load PixArt Model, or leave this input empty.",
        )
    return variant


def check_family(family: str, variant: Variant) -> None:
    """Raise ConditioningError for a saved prompt that was encoded for the other family."""
    if family not in ("", variant.family):
        raise ConditioningError(
            "The saved prompt does not fit this model",
            found=f"a prompt encoded for PixArt {family}",
            expected=f"one for PixArt {variant.family}, which reads prompts otherwise",
            advice="Encode the prompt with this model connected to PixArt Prompt, and save it "
            "again.",
        )


class PixArtModelConfig(comfy.supported_models_base.BASE):  # type: ignore[misc]
    """What the host asks about a model before and while it runs it."""

    unet_config: dict[str, Any] = {}
    unet_extra_config: dict[str, Any] = {}
    sampling_settings = {
        # The host's name for betas that rise linearly.
        "beta_schedule": "sqrt_linear",
        "linear_start": 1e-4,
        "linear_end": 0.02,
        "timesteps": 1000,
    }
    memory_usage_factor = 0.5

    def __init__(self, info: CheckpointInfo) -> None:
        network = info.network
        self.latent_format = _latent_format(info.variant.latent_scale, network.in_channels)
        self.variant_name = info.variant.name
        super().__init__(
            {
                "network": network,
                "depth": network.depth,
                "hidden_size": network.hidden_size,
                "in_channels": network.in_channels,
            }
        )

    def process_unet_state_dict_for_saving(
        self, state_dict: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Note the variant in a file that the host saves: its tensors alone would not tell it."""
        noted = {**state_dict, f"{NOTE}.{self.variant_name}": torch.zeros(0)}
        return super().process_unet_state_dict_for_saving(noted)


_LATENT_FORMATS = {0.18215: comfy.latent_formats.SD15, 0.13025: comfy.latent_formats.SDXL}


def _latent_format(scale: float, channels: int) -> type[comfy.latent_formats.LatentFormat]:
    """Return the format with this scale; one without previews where the channels are others."""
    known = _LATENT_FORMATS[scale]
    if channels == known.latent_channels:
        return known
    facts = {"latent_channels": channels, "scale_factor": scale}
    return type("OtherChannels", (comfy.latent_formats.LatentFormat,), facts)


def host_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    mask: Tensor | None = None,
    *,
    transformer_options: Mapping[str, Any] | None = None,
) -> Tensor:
    """Attend with the kernel that the host chose, and what other nodes put in its place."""
    out: Tensor = comfy.ldm.modules.attention.optimized_attention(
        q, k, v, heads, mask=mask, transformer_options=transformer_options
    )
    return out


def _check_latent(noise: Tensor, config: NetworkConfig) -> None:
    if noise.ndim != 4 or noise.shape[1] != config.in_channels:
        raise SamplingError(
            "The latent does not fit this model",
            found=f"one of shape {tuple(noise.shape)}",
            expected=f"(pictures, {config.in_channels}, height / 8, width / 8)",
            advice="Take the latent from PixArt Resolution, or encode the picture with the VAE "
            "that belongs to the model.",
        )
    if any(side % config.patch_size for side in noise.shape[-2:]):
        height, width = (side * LATENT_PIXEL for side in noise.shape[-2:])
        step = config.patch_size * LATENT_PIXEL
        raise SamplingError(
            "PixArt cannot draw a picture of this size",
            found=f"{width} × {height} pixels",
            expected=f"multiples of {step}",
            advice="Take the latent from PixArt Resolution, or set both sides to multiples of "
            f"{step}.",
        )
