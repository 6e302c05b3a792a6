"""A PixArt transformer as an ordinary MODEL of the host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import MappingProxyType
from typing import Any

import comfy.latent_formats
import comfy.model_base
import comfy.supported_models_base
import torch
from torch import Tensor

from ...pixart_core.checkpoint.detect import CheckpointInfo
from ...pixart_core.checkpoint.hints import NOTE
from ...pixart_core.errors import ConditioningError, PixArtError, SamplingError
from ...pixart_core.network import NetworkConfig
from ...pixart_core.network.kept_caption import Shortcuts
from ...pixart_core.network.matmul import fast_matmul
from ...pixart_core.variants import LATENT_PIXEL, Variant
from .caption import CaptionCondition, SteadyCondition, check_rows, fit_caption, lengthened
from .kernels import best_kernel
from .run import memory_of, shortcuts_of
from .transformer import HostTransformer

FAMILY = "pixart_family"
"""Beside a conditioning from a file: the family that it was encoded for."""


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
        out["picture_size"] = SteadyCondition(size)
        return out

    def _apply_model(
        self,
        x: Tensor,
        t: Tensor,
        c_concat: Tensor | None = None,
        c_crossattn: Tensor | None = None,
        control: Any = None,
        transformer_options: Mapping[str, Any] = MappingProxyType({}),
        **kwargs: Any,
    ) -> Tensor:
        """Run the model; its captions stay the same tensors while one picture is drawn."""
        conds = {"c_crossattn": c_crossattn, **kwargs}
        memory = memory_of(transformer_options)
        if memory is not None and not _is_compiled(self.diffusion_model):
            dtypes = {"c_crossattn": self.get_dtype_inference()}
            steady = {name: conds[name] for name in _STEADY if conds.get(name) is not None}
            conds |= {
                name: memory.moved(cond, x.device, dtypes.get(name))
                for name, cond in steady.items()
            }
        elif _is_compiled(self.diffusion_model):
            conds |= self._of_one_length(conds)
        with _fastest(shortcuts_of(transformer_options), x.device, self.get_dtype_inference()):
            out: Tensor = super()._apply_model(
                x, t, c_concat, control=control, transformer_options=transformer_options, **conds
            )
        return out

    def _of_one_length(self, conds: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return captions and masks as long as any prompt, or each would be compiled anew."""
        names = [name for name in _STEADY[:2] if conds.get(name) is not None]
        return {name: lengthened(conds[name], self.variant.tokens) for name in names}


@contextmanager
def _fastest(shortcuts: Shortcuts, device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Multiply and attend by the fastest exact kernels that are allowed."""
    with ExitStack() as stack:
        if shortcuts.matmul:
            stack.enter_context(fast_matmul(device, dtype))
        if shortcuts.kernel:
            stack.enter_context(best_kernel(device, dtype))
        yield


_STEADY = ("c_crossattn", "caption_mask", "picture_size")


def _is_compiled(model: Any) -> bool:
    return hasattr(model, "_orig_mod")


def variant_of(model: Any) -> Variant | None:
    """Return the variant of a MODEL; None for a model of another kind."""
    return model.model.variant if isinstance(model.model, PixArtModel) else None


def require_variant(model: Any) -> Variant:
    """Return the variant of a MODEL; raise ConditioningError for a model of another kind."""
    return require_pixart(
        model.model,
        "The prompt cannot take its settings from this model",
        "or leave this input empty.",
        ConditioningError,
    ).variant


def require_pixart(
    model: Any, failed: str, otherwise: str, error: type[PixArtError] = SamplingError
) -> PixArtModel:
    """Return the model inside a MODEL; raise ``error`` where it is of another kind.

    ``failed`` says what cannot be done with it, ``otherwise`` what to do but load a PixArt.
    """
    if isinstance(model, PixArtModel):
        return model
    raise error(
        failed,
        found="none" if model is None else f"a {type(model).__name__}",
        expected="a model from Load PixArt Model",
        advice=f"Load the model with Load PixArt Model, {otherwise}",
    )


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
