"""The transformer with the call that the host makes, and the places where other nodes act."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import comfy.ldm.common_dit
import comfy.patcher_extension
import torch
from torch import Tensor

from ...pixart_core.network import NetworkConfig, PixArtTransformer
from ...pixart_core.network.transformer import State
from .kernels import OVERRIDE, host_attention
from .run import memory_of
from .step import step_of

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
        super().__init__(network, operations, host_attention, dtype, device, _cross_attention)
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
        """Return the noise in ``x``, (B, C, H, W); other nodes may wrap this call."""
        options = {} if transformer_options is None else transformer_options
        extension = comfy.patcher_extension
        wrappers = extension.get_all_wrappers(extension.WrappersMP.DIFFUSION_MODEL, options)
        executor = extension.WrapperExecutor.new_class_executor(self._noise, self, wrappers)
        out: Tensor = executor.execute(
            x, timesteps, context, caption_mask, picture_size, control, options
        )
        return out

    def _noise(
        self,
        x: Tensor,
        timesteps: Tensor,
        context: Tensor,
        caption_mask: Tensor | None,
        picture_size: Tensor | None,
        control: Any,
        transformer_options: Mapping[str, Any],
    ) -> Tensor:
        """Run the network; a learned variance is given to our solver, if one runs the model."""
        height, width = x.shape[-2:]
        step = step_of(transformer_options)
        if step is not None:
            timesteps = step.exact(timesteps)
        # The host's area nodes cut latents at any pixel, also in the middle of a patch.
        patches = comfy.ldm.common_dit.pad_to_patch_size(x, (self.config.patch_size,) * 2)
        skips = [] if control is None else control.get(CONTROL_INPUT, ())
        memory = None if torch.compiler.is_compiling() else memory_of(transformer_options)
        out = super().forward(
            *(patches, timesteps, context, caption_mask, picture_size),
            *(transformer_options, skips, memory),
        )
        out = out[..., :height, :width]
        channels = self.config.in_channels
        if step is not None and step.prompts:
            step.keep(out[:, channels:], transformer_options["uuids"])
        return out[:, :channels]

    def attends_together(self, options: Mapping[str, Any]) -> bool:
        """Whether other nodes stand between attention and its projections."""
        return OVERRIDE in options or any(_cross_patches(options))

    def run_block(self, index: int, tokens: Tensor, state: State) -> Tensor:
        """Run one block, or what another node has put in its place."""
        replaced = state.options.get("patches_replace", {}).get("dit", {})
        patch = replaced.get(("double_block", index))
        if patch is None:
            return super().run_block(index, tokens, state)

        def original(args: Mapping[str, Any]) -> dict[str, Any]:
            return {**args, "img": PixArtTransformer.run_block(self, index, args["img"], state)}

        given = {
            **{"img": tokens, "txt": state.caption, "vec": state.modulation, "pe": None},
            "transformer_options": state.options,
        }
        out: Tensor = patch(given, {"original_block": original})["img"]
        return out


def _cross_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    mask: Tensor | None = None,
    *,
    transformer_options: Mapping[str, Any] | None = None,
) -> Tensor:
    """Attend to the caption, and let other nodes change what comes out.

    They ask for the attention that mixes picture and words: in the models they were written for
    that is the only one, here it is this one.
    """
    out = host_attention(q, k, v, heads, mask, transformer_options=transformer_options)
    options = transformer_options or {}
    for patch in _cross_patches(options):
        out = patch(out, options)
    return out


def _cross_patches(options: Mapping[str, Any]) -> Sequence[Any]:
    return options.get("patches", {}).get("attn1_output_patch", ())
