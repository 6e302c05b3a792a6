"""Training of the demo's transformer together with its T5."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate
from pathlib import Path
from statistics import mean

import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm
from transformers import T5EncoderModel

from pixart_core.network import PixArtTransformer
from pixart_core.network.blocks import Block
from pixart_core.network.positions import position_grid

from .captions import Captioner, new_encoder
from .recipe import GUIDANCE, NETWORK, TRAINED_SIDE, Recipe, Stage
from .scenes import PLACES, SHAPES, SIZES, Scene, draw

_DIFFERS = 0.1
"""Least difference of two shapes in the share of a latent's patch that they cover."""


@dataclass(frozen=True)
class Pictures:
    """Scenes of one size with their latents (N, 4, H, W)."""

    scenes: list[Scene]
    latents: Tensor

    def contested(self, chosen: Sequence[int]) -> Tensor:
        """Return 1 where shapes of a scene's size and place differ, else 0: (N, 1, H, W)."""
        height, width = self.latents.shape[2:]
        scenes = [self.scenes[index] for index in chosen]
        return torch.stack([contested(s.size, s.place, 8 * width, 8 * height) for s in scenes])


class Pair(nn.Module):
    """The transformer and the T5 that feeds it, trained as one."""

    def __init__(self, transformer: PixArtTransformer, text: T5EncoderModel) -> None:
        super().__init__()
        self.transformer = transformer
        self.text = text

    def forward(self, x: Tensor, t: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Predict the noise in latents (N, 4, H, W) at timesteps (N,)."""
        return self.transformer(x, t, self._context(ids, mask), mask)[:, : NETWORK.in_channels]

    def _context(self, ids: Tensor, mask: Tensor) -> Tensor:
        context: Tensor = self.text(input_ids=ids, attention_mask=mask).last_hidden_state
        return context


def new_pair(seed: int) -> Pair:
    """Return the untrained pair, whose transformer answers with its input.

    At high noise that is nearly right. Left to find it out, it learns for thousands of steps to
    carry the noise from its first layer to its last, and outlines only then.
    The caption projection does not start as narrow as in PixArt's own code: with a T5 this small
    its keys would be too weak for attention to tell words apart, and remain so.
    """
    text = new_encoder(seed)
    transformer = PixArtTransformer(NETWORK)
    for module in transformer.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight.flatten(1))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    narrow: list[nn.Module] = [
        *transformer.t_embedder.modules(),
        *transformer.t_block.modules(),
    ]
    for module in narrow:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
    for block in transformer.blocks:
        assert isinstance(block, Block)
        for last in (block.attn.proj, block.cross_attn.proj, block.mlp.fc2):
            nn.init.zeros_(last.weight)
        nn.init.normal_(block.scale_shift_table, std=NETWORK.hidden_size**-0.5)
    _pass_through(transformer)
    return Pair(transformer, text)


@torch.no_grad()
def _pass_through(transformer: PixArtTransformer) -> None:
    """Carry each number of a patch through a channel of its own that tells next to no position."""
    patch = NETWORK.in_channels * NETWORK.patch_size**2
    side = TRAINED_SIDE // 8 // NETWORK.patch_size
    size, reach = NETWORK.hidden_size, NETWORK.position_range
    grid = position_grid(side, side, size, reach, torch.device("cpu"))
    carriers = grid.abs().amax(0).argsort()[:patch]
    embedder, last = transformer.x_embedder.proj, transformer.final_layer
    embedder.weight.zero_()
    embedder.weight.flatten(1)[carriers, torch.arange(patch)] = 1.0
    tokens = grid.expand(64, -1, -1).clone()
    tokens[..., carriers] += torch.randn(*tokens.shape[:2], patch)
    # The last norm takes the mean off each token and makes its deviation 1.
    middle, deviation = tokens.mean(-1).mean(), tokens.std(-1).mean()
    rows = last.linear.weight.zero_().view(-1, NETWORK.out_channels, size)
    for place in range(rows.shape[0]):
        for channel in range(NETWORK.in_channels):
            rows[place, channel, carriers[channel * rows.shape[0] + place]] = deviation
    last.linear.bias.zero_().view(-1, NETWORK.out_channels)[:, : NETWORK.in_channels] = middle
    last.scale_shift_table.zero_()
    transformer.t_embedder.mlp.get_submodule("2").get_parameter("weight").zero_()


class Trainer:
    """The loop over all stages; its state can be saved and taken up again."""

    def __init__(self, recipe: Recipe, captioner: Captioner, device: torch.device) -> None:
        self.recipe = recipe
        self.captioner = captioner
        self.device = device
        self.rng = random.Random(recipe.seed)
        self.pair = new_pair(recipe.seed).to(device)
        self.average = copy.deepcopy(self.pair).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.pair.parameters(), betas=(0.9, 0.99), weight_decay=0.01, fused=True
        )
        self.alphas = DPMSolverMultistepScheduler(
            beta_start=1e-4, beta_end=0.02, beta_schedule="linear"
        ).alphas_cumprod
        self.total = sum(stage.steps for stage in recipe.stages)
        self.step = 0

    def run(
        self,
        small: Pictures,
        buckets: Sequence[Pictures],
        state: Path,
        look: Callable[[Pair, int], None],
    ) -> Pair:
        """Train through all stages and return the averaged pair.

        Saves to ``state``, and shows the average to ``look`` with the step.
        """
        if state.exists():
            self._resume(state)
        bar = tqdm(
            range(self.step, self.total), initial=self.step, total=self.total, desc="denoiser"
        )
        for _ in bar:
            stage = self._stage()
            if self.rng.random() < stage.bucket_share:
                counts = [len(pictures.scenes) for pictures in buckets]
                (pictures,) = self.rng.choices(buckets, counts)
                loss = self.loss(stage, pictures, self.recipe.bucket_batch)
            else:
                loss = self.loss(stage, small, self.recipe.small_batch)
            ema = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
            bar.set_postfix(loss=f"{self.learn(loss, self._rate(), ema):.3f}")
            self.step += 1
            if self._is_due(self.recipe.steps_between_saves):
                self._save(state)
            if self._is_due(self.recipe.steps_between_sheets):
                look(self.average, self.step)
        return self.average

    def _is_due(self, interval: int) -> bool:
        return self.step % interval == 0 or self.step == self.total

    def _stage(self) -> Stage:
        ends = accumulate(stage.steps for stage in self.recipe.stages)
        return next(
            stage for stage, end in zip(self.recipe.stages, ends, strict=True) if self.step < end
        )

    def learn(self, loss: Tensor, rate: float, ema: float) -> float:
        """Take a step against a loss, and let the average follow."""
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.pair.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.parameters()), list(self.pair.parameters()), 1 - ema
            )
        return loss.item()

    def loss(self, stage: Stage, pictures: Pictures, batch: int) -> Tensor:
        """Return the loss of a batch of pictures, each under noise of its own."""
        empty = round(batch * self.recipe.empty_captions)
        own = batch - empty
        chosen = self.rng.sample(range(len(pictures.scenes)), own)
        ids, mask = self.captioner([pictures.scenes[i] for i in chosen], empty)
        latents = pictures.latents[chosen].float()
        noise, t = torch.randn_like(latents), self._timesteps(stage, own)
        counts = 1 + (self.recipe.contested_weight - 1) * pictures.contested(chosen)
        # The last rows repeat the first ones without their captions.
        latents, noise, t, counts = (
            torch.cat([part, part[:empty]]).to(self.device)
            for part in (latents, noise, t, counts / counts.mean())
        )
        alpha = self.alphas.to(self.device)[t][:, None, None, None]
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        predicted = self.pair(noisy, t, ids.to(self.device), mask.to(self.device))
        # Divided by alpha this is the loss of the velocity; without it the steps in which text
        # decides the picture hardly count.
        weight = (1 / alpha).clamp(max=stage.weight_limit)
        loss = (weight * counts * (predicted - noise).square()).mean()
        shows = weight[:empty] * (t[:empty] < self.recipe.agreement_below)[:, None, None, None]
        apart = (shows * (predicted[:empty] - predicted[own:]).square()).mean()
        return loss + self.recipe.agreement * apart * empty / batch

    def _timesteps(self, stage: Stage, count: int) -> Tensor:
        even = torch.rand(count) ** stage.timestep_power
        middle = 2 * stage.middle * torch.rand(2, count).mean(0)
        drawn = torch.where(torch.rand(count) < stage.middle_share, middle, even)
        return (len(self.alphas) * drawn).long()

    def _rate(self) -> float:
        warming = min(1.0, (self.step + 1) / self.recipe.warm_up)
        return self.recipe.rate * warming * (1 - self.step / self.total)

    def _save(self, path: Path) -> None:
        state = {
            "step": self.step,
            "pair": self.pair.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        unfinished = path.with_suffix(".part")
        torch.save(state, unfinished)
        unfinished.replace(path)

    def _resume(self, path: Path) -> None:
        state = torch.load(path, weights_only=True, map_location=self.device)
        self.step = state["step"]
        self.pair.load_state_dict(state["pair"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        # Not the draws of the first run again: those up to this step were already learned from.
        self.rng.seed(self.recipe.seed + self.step)
        torch.manual_seed(self.recipe.seed + self.step)


@cache
def contested(size: str, place: str, width: int, height: int) -> Tensor:
    """Return 1 where the shapes differ, of a size and place in a picture of so many pixels.

    Only there can a picture be told to show the wrong shape: (1, height / 8, width / 8).
    """
    middle = Scene("", "white", "black", x=mean(PLACES[place]), radius=mean(SIZES[size]))
    drawn = [draw(replace(middle, shape=shape), width, height).convert("L") for shape in SHAPES]
    pixels = torch.stack(
        [torch.frombuffer(bytearray(d.tobytes()), dtype=torch.uint8) for d in drawn]
    )
    covered = functional.avg_pool2d(pixels.view(-1, 1, height, width) / 255, 8)
    return (covered.amax(0) - covered.amin(0) > _DIFFERS).float()


@dataclass(frozen=True)
class Course:
    """What a sampler went through."""

    states: Tensor
    """Latents before each step, (N, steps, 4, h, w)."""
    timesteps: Tensor
    """Of each step, falling: (steps,)."""
    end: Tensor
    """What came out, (N, 4, h, w)."""


@torch.no_grad()
def course(
    pair: Pair,
    ids: Tensor,
    mask: Tensor,
    size: tuple[int, int],
    steps: int = 20,
    seed: int = 0,
) -> Course:
    """Draw latents for token rows, the last row being the empty caption.

    ``size``: width and height in pixels.
    """
    solver = DPMSolverMultistepScheduler(beta_start=1e-4, beta_end=0.02, beta_schedule="linear")
    solver.set_timesteps(steps)
    device = next(pair.parameters()).device
    count = len(ids) - 1
    ids = torch.cat([ids[:-1], ids[-1:].expand(count, -1)]).to(device)
    mask = torch.cat([mask[:-1], mask[-1:].expand(count, -1)]).to(device)
    generator = torch.Generator().manual_seed(seed)
    width, height = (side // 8 for side in size)
    x = torch.randn(count, NETWORK.in_channels, height, width, generator=generator).to(device)
    states = []
    for t in solver.timesteps.to(device):
        states.append(x.cpu())
        cond, uncond = pair(torch.cat([x, x]), t.expand(2 * count), ids, mask).chunk(2)
        x = solver.step(uncond + GUIDANCE * (cond - uncond), t, x).prev_sample
    return Course(torch.stack(states, 1), solver.timesteps.cpu(), x.cpu())
