"""``python dev.py parity --solvers``: our sampler in the host against diffusers' pipelines."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import PixArtTransformer2DModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from devtools.inprocess import import_pack
from devtools.models import demo_models
from devtools.pipelines import DRAWING, SWAPPED, Prompts, reference_latent
from devtools.reference import FAMILIES, TINY, diffusers_transformer, relative_error
from pixart_core.checkpoint.layouts import to_diffusers, to_original
from pixart_core.sampling.noise import row_generators
from pixart_core.sampling.solvers import SOLVERS

_CLOSE = 1e-4
"""Most relative L2 distance of the final latent in fp32."""
_SEED = 42
_GUIDANCE = 4.5
_SIDES = (16, 24)
"""Height and width of the latent."""
_LENGTHS = (9, 2)
"""Tokens of prompt and negative."""

MODELS = ("demo", "alpha-1024", "sigma-1024")
"""The trained demo model, and tiny ones with random weights that are like the released."""


@dataclass(frozen=True)
class Subject:
    """One model twice: as diffusers runs it, and as a MODEL of the host."""

    transformer: PixArtTransformer2DModel
    patcher: Any
    sigma: bool
    prompts: Prompts


def subjects(folder: Path) -> dict[str, Subject]:
    """Return the models by name; their files are written to ``folder``. Imports the pack."""
    import_pack()
    return {name: _subject(name, folder) for name in MODELS}


def _subject(name: str, folder: Path) -> Subject:
    from pixart_pack.nodes.host.loading import load_model

    transformer = demo_transformer() if name == "demo" else _tiny_transformer(name)
    path = folder / f"{name}.safetensors"
    weights = to_original(transformer.state_dict())
    save_file({key: value.contiguous() for key, value in weights.items()}, path)
    variant = "alpha-256" if name == "demo" else name
    patcher = load_model(path, variant, "fp32").patcher
    generator = torch.Generator().manual_seed(7)
    channels = transformer.config.caption_channels
    positive, negative = (torch.randn(1, n, channels, generator=generator) for n in _LENGTHS)
    masks = (torch.ones(1, n, dtype=torch.long) for n in _LENGTHS)
    mask, negative_mask = masks
    prompts = _padded(positive, mask, negative, negative_mask)
    return Subject(transformer, patcher, name.startswith("sigma"), prompts)


def _padded(positive: Tensor, mask: Tensor, negative: Tensor, negative_mask: Tensor) -> Prompts:
    """Lengthen the negative to the prompt, as the pipeline needs it."""
    missing = positive.shape[1] - negative.shape[1]
    return Prompts(
        positive,
        mask,
        torch.nn.functional.pad(negative, (0, 0, 0, missing)),
        torch.nn.functional.pad(negative_mask, (0, missing)),
    )


def _tiny_transformer(name: str) -> PixArtTransformer2DModel:
    (family,) = (family for family in FAMILIES if family.name == name)
    return diffusers_transformer(family, TINY)


def demo_transformer() -> PixArtTransformer2DModel:
    """Return diffusers' transformer with the demo's weights, fp32."""
    transformer = PixArtTransformer2DModel(
        num_attention_heads=3,
        num_layers=6,
        sample_size=32,
        caption_channels=128,
        cross_attention_dim=216,
    )
    tensors = load_file(demo_models()["diffusion_models"][0])
    transformer.load_state_dict(to_diffusers({k: v.float() for k, v in tensors.items()}))
    return transformer.eval()


def compare(subject: Subject, solver: str, steps: int = 0) -> float:
    """Return the relative L2 distance of our final latent from diffusers'; 0 is the usual steps."""
    steps = steps or SOLVERS[solver].steps
    guidance = _GUIDANCE if SOLVERS[solver].guided else 1.0
    noise = torch.randn(1, 4, *_SIDES, generator=torch.manual_seed(_SEED))
    (generator,) = row_generators([(_SEED, 0)])
    wanted = reference_latent(
        *(subject.transformer, solver, subject.prompts, noise, steps, guidance),
        generator if solver in DRAWING else None,
        sigma=subject.sigma,
    )
    return relative_error(our_latent(subject, solver, steps, guidance), wanted)


@torch.inference_mode()
def our_latent(subject: Subject, solver: str, steps: int, guidance: float) -> Tensor:
    """Return what PixArt Sampler ends with, in the model's scale."""
    from pixart_pack.nodes.host.sampler import Settings, sample

    settings = Settings(_SEED, steps, guidance, solver, 1.0)
    out, _ = sample(subject.patcher, *_conditionings(subject.prompts), _empty(), settings)
    return _scaled(subject, out["samples"])


@torch.inference_mode()
def stock_latent(subject: Subject) -> Tensor:
    """Return what the host's KSampler ends with, ``dpmpp_2m`` and ``sgm_uniform``."""
    import comfy.sample

    noise = comfy.sample.prepare_noise(_empty()["samples"], _SEED)
    positive, negative = _conditionings(subject.prompts)
    out = comfy.sample.sample(
        *(subject.patcher, noise, 20, _GUIDANCE, "dpmpp_2m", "sgm_uniform", positive, negative),
        _empty()["samples"],
        disable_pbar=True,
        seed=_SEED,
    )
    return _scaled(subject, out)


def _conditionings(prompts: Prompts) -> list[list[Any]]:
    pairs = (
        (prompts.positive, prompts.positive_mask),
        (prompts.negative, prompts.negative_mask),
    )
    return [[[embedding[:, mask[0].bool()], {}]] for embedding, mask in pairs]


def _empty() -> dict[str, Tensor]:
    return {"samples": torch.zeros(1, 4, *_SIDES)}


def _scaled(subject: Subject, latent: Tensor) -> Tensor:
    scaled: Tensor = subject.patcher.model.process_latent_in(latent)
    return scaled


def report() -> int:
    """Compare every solver on every model, print the table, return 1 if one is too far."""
    # What it says of solvers that do not suit a model is for users.
    logging.getLogger("pixart").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        models = subjects(Path(folder))
        found = {
            solver: {name: compare(subject, solver) for name, subject in models.items()}
            for solver in tqdm(SWAPPED, desc="parity", leave=False)
        }
        found["KSampler dpmpp_2m"] = {name: _stock_error(model) for name, model in models.items()}
    print(f"{'solver':20} " + " ".join(f"{name:>12}" for name in MODELS))
    for solver, errors in found.items():
        missed = solver in SWAPPED and max(errors.values()) > _CLOSE
        figures = " ".join(f"{errors[name]:12.1e}" for name in MODELS)
        print(f"{solver:20} {figures}{'  MISSED' if missed else ''}")
    print(f"relative L2 of the final latent to diffusers' in fp32: at most {_CLOSE:.0e} for ours;")
    print("KSampler rounds timesteps, and is shown beside")
    return int(any(max(found[solver].values()) > _CLOSE for solver in SWAPPED))


def _stock_error(subject: Subject) -> float:
    noise = torch.randn(1, 4, *_SIDES, generator=torch.manual_seed(_SEED))
    wanted = reference_latent(
        *(subject.transformer, "DPM-Solver++", subject.prompts, noise, 20, _GUIDANCE),
        sigma=subject.sigma,
    )
    return relative_error(stock_latent(subject), wanted)
