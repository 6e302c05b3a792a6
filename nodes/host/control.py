"""A PixArt ControlNet as an ordinary CONTROL_NET of the host."""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import comfy.controlnet
import comfy.latent_formats
import comfy.ldm.common_dit
import comfy.model_management
import comfy.ops
import comfy.utils
import torch
from torch import Tensor

from ...pixart_core.checkpoint.completeness import check_finite
from ...pixart_core.checkpoint.control import OpenedControl, open_control
from ...pixart_core.errors import SamplingError
from ...pixart_core.network import NetworkConfig
from ...pixart_core.network.control import PixArtControl
from ...pixart_core.network.matmul import fast_matmul
from .kernels import best_kernel, host_attention
from .model import PixArtModel
from .step import step_of
from .transformer import CONTROL_INPUT, HostTransformer


class HostControl(PixArtControl):
    """The control branch with the call that the host makes."""

    def __init__(self, config: NetworkConfig, operations: Any, dtype: torch.dtype) -> None:
        super().__init__(config, operations, host_attention, dtype)
        self.dtype = dtype

    def forward(  # type: ignore[override]
        self,
        x: Tensor,
        hint: Tensor,
        timesteps: Tensor,
        context: Tensor,
        base: weakref.ref[HostTransformer],
        exact_timesteps: Tensor,
        options: Mapping[str, Any],
        caption_mask: Tensor | None = None,
        picture_size: Tensor | None = None,
    ) -> dict[str, list[Tensor]]:
        """Return what is added before the model's second block, the third, and so on."""
        model = base()
        assert model is not None
        x, hint = (
            comfy.ldm.common_dit.pad_to_patch_size(latent, (model.config.patch_size,) * 2)
            for latent in (x, hint)
        )
        with fast_matmul(x.device, x.dtype), best_kernel(x.device, x.dtype):
            skips = super().forward(
                *(model, x, hint, exact_timesteps, context, caption_mask, picture_size, options)
            )
        return {CONTROL_INPUT: skips}


class PixArtControlNet(comfy.controlnet.ControlNet):  # type: ignore[misc]
    """The host's wrapper: it encodes the picture, and hands over what the branch says."""

    def __init__(
        self,
        control_model: HostControl | None = None,
        load_device: torch.device | None = None,
        manual_cast_dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            control_model,
            compression_ratio=1,
            # Until the model is known; without one the host would not ask for a VAE.
            latent_format=comfy.latent_formats.SD15(),
            load_device=load_device,
            manual_cast_dtype=manual_cast_dtype,
            extra_conds=["caption_mask", "picture_size"],
        )

    def pre_run(self, model: Any, percent_to_timestep_function: Any) -> None:
        """Take from the model what the branch shares with it; raise where they do not fit."""
        _check_fits(model, self.control_model)
        super().pre_run(model, percent_to_timestep_function)
        self.latent_format = model.latent_format
        # Weakly, because the host does not clean up after an interrupt, and keeps conditionings.
        self.set_extra_arg("base", weakref.ref(model.diffusion_model))

    def get_control(
        self,
        x_noisy: Tensor,
        t: Tensor,
        cond: dict[str, Any],
        batched_number: int,
        transformer_options: dict[str, Any],
    ) -> Any:
        """Return the control for a batch at noise levels ``t``."""
        # The host rounds them to the precision of the weights: in bf16, 999 would be 1000.
        timesteps = self.model_sampling_current.timestep(t).float()
        step = step_of(transformer_options)
        exact = timesteps if step is None else step.exact(timesteps)
        self.set_extra_arg("exact_timesteps", exact)
        self.set_extra_arg("options", transformer_options)
        return super().get_control(x_noisy, t, cond, batched_number, transformer_options)

    def cleanup(self) -> None:
        """Let go of the model."""
        for name in ("base", "exact_timesteps", "options"):
            self.extra_args.pop(name, None)
        super().cleanup()

    def copy(self) -> PixArtControlNet:
        """Return another one on the same weights, as each apply node needs."""
        copied = PixArtControlNet(None, self.load_device, self.manual_cast_dtype)
        copied.control_model = self.control_model
        copied.control_model_wrapped = self.control_model_wrapped
        self.copy_to(copied)
        return copied


def load_control(path: Path) -> PixArtControlNet:
    """Load a ControlNet file or folder; raise CheckpointError where it is none."""
    opened = open_control(path)
    management = comfy.model_management
    device = management.get_torch_device()
    dtype = management.unet_dtype(
        model_params=sum(math.prod(value.shape) for value in opened.tensors.values()),
        weight_dtype=comfy.utils.weight_dtype(opened.tensors),
    )
    cast = management.unet_manual_cast(dtype, device)
    operations = comfy.ops.pick_operations(dtype, cast)
    branch = HostControl(opened.network, operations, dtype).eval()
    control = PixArtControlNet(branch, device, cast)
    _fill(branch, opened, assign=control.control_model_wrapped.is_dynamic())
    return control


def _fill(branch: HostControl, opened: OpenedControl, assign: bool) -> None:
    """Give the branch its weights; as they lie in the file where the host keeps them mapped."""
    for key, tensor in opened.tensors.items():
        check_finite(key, tensor)
    branch.load_state_dict(opened.tensors, assign=assign)
    opened.files.check_unchanged()


def _check_fits(model: Any, branch: HostControl) -> None:
    found = "a " + type(model).__name__
    if isinstance(model, PixArtModel):
        network = model.diffusion_model.config
        if (network.hidden_size, network.mlp_size) == (
            branch.config.hidden_size,
            branch.config.mlp_size,
        ) and network.depth > branch.config.depth:
            return
        found = f"one of {network.depth} blocks, {network.hidden_size} wide"
    raise SamplingError(
        "The ControlNet does not fit this model",
        found=found,
        expected=f"a PixArt model of more than {branch.config.depth} blocks, "
        f"{branch.config.hidden_size} wide",
        advice="Use the model that the ControlNet was trained for.",
    )
