"""A patcher for models that cannot be split: all of it is loaded, or nothing."""

from __future__ import annotations

from typing import Any

import comfy.model_patcher
import torch

from ...pixart_core.errors import PixArtError
from ...pixart_core.text.bits import settle


class WholePatcher(comfy.model_patcher.ModelPatcher):  # type: ignore[misc]
    """Moves modules of other libraries, whose weights the host can neither cast nor patch.

    Module by module: what bitsandbytes keeps beside its weights moves with a layer alone, not
    with a model that contains it.
    """

    def load(
        self,
        device_to: torch.device | None = None,
        lowvram_model_memory: int = 0,
        force_patch_weights: bool = False,
        full_load: bool = False,
    ) -> None:
        """Move everything to the device, however little room the host grants."""
        with self.use_ejected():
            self._move(device_to)
            self.model.model_lowvram = False
            self.model.model_loaded_weight_memory = self.model_size()
            self.model.current_weight_patches_uuid = self.patches_uuid

    def partially_unload(self, device_to: torch.device, memory_to_free: int = 0, *_: Any) -> int:
        """Free nothing: the host then unloads the whole."""
        return 0

    def unpatch_model(
        self, device_to: torch.device | None = None, unpatch_weights: bool = True
    ) -> None:
        """Move everything away."""
        super().unpatch_model(None, unpatch_weights)
        if unpatch_weights:
            self._move(device_to)

    def add_patches(
        self, patches: dict[Any, Any], strength_patch: float = 1.0, strength_model: float = 1.0
    ) -> list[Any]:
        """Refuse a LoRA of this model; one of another takes nothing here."""
        self._refuse(patches, strength_patch)
        return []

    def add_hook_patches(
        self,
        hook: Any,
        patches: dict[Any, Any],
        strength_patch: float = 1.0,
        strength_model: float = 1.0,
    ) -> list[Any]:
        """Refuse a LoRA that comes with time, too."""
        self._refuse(patches, strength_patch)
        return []

    def _refuse(self, patches: dict[Any, Any], strength: float) -> None:
        own = self.model.state_dict().keys()
        keys = [key for key in patches if (key if isinstance(key, str) else key[0]) in own]
        if keys and strength:
            raise PixArtError(
                "The LoRA cannot be applied to this T5",
                found="weights that bitsandbytes keeps in 8 or 4 bits",
                expected="a precision that takes LoRA",
                advice='Set the precision of Load T5 for PixArt to "int8 (offloadable)", or the '
                "LoRA's strength for the text encoder to 0.",
            )

    def _move(self, device: torch.device | None) -> None:
        if device is None:
            return
        for module in self.model.modules():
            if not any(True for _ in module.children()):
                module.to(device)
                settle(module)
        self.model.device = device
