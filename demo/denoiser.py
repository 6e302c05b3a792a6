"""Training of the demo's transformer."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm
from transformers import T5EncoderModel

from pixart_core.network import PixArtTransformer

from .lessons import Batch, Lessons
from .recipe import NETWORK, PictureSize, Recipe, Stage
from .start import DEVIATION, new_transformer

_SKETCHED = 3
"""The block after which a shape's outline is asked for."""
_FAINT = 8.0
"""Signal to noise from which on an error of the noise counts for less."""
_RARELY = 0.12
"""How much the least contested tokens are chosen for, where not all of them are."""


class Pair(nn.Module):
    """The transformer and the T5 that feeds it."""

    def __init__(self, transformer: PixArtTransformer, text: T5EncoderModel) -> None:
        super().__init__()
        self.transformer = transformer
        self.text = text

    def forward(self, x: Tensor, t: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Predict the noise in latents (N, 4, H, W) at timesteps (N,)."""
        return self.transformer(x, t, self.context(ids, mask), mask)[:, : NETWORK.in_channels]

    @torch.no_grad()
    def context(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return T5's embeddings, (N, L, channels); it learns nothing here."""
        context: Tensor = self.text(input_ids=ids, attention_mask=mask).last_hidden_state
        return context


class Trainer:
    """The loop over all stages; its state can be saved and taken up again."""

    def __init__(
        self, recipe: Recipe, text: T5EncoderModel, lessons: Lessons, device: torch.device
    ) -> None:
        self.recipe = recipe
        self.lessons = lessons
        self.device = device
        self.rng = random.Random(recipe.seed)
        self.pair = Pair(new_transformer(recipe.seed), text).to(device)
        self.average = copy.deepcopy(self.pair).eval().requires_grad_(False)
        self.sketch = nn.Linear(NETWORK.hidden_size, NETWORK.patch_size**2, device=device)
        self.optimizer = torch.optim.AdamW(
            self._groups(), betas=(0.9, 0.99), weight_decay=0.01, fused=True
        )
        self.total = sum(stage.steps for stage in recipe.stages)
        self.step = 0

    def _groups(self) -> list[dict[str, object]]:
        """Return the parameters, those apart through which all noise goes: they learn slower."""
        network = self.pair.transformer
        slow = [
            parameter
            for part in (
                network.x_embedder,
                network.t_embedder,
                network.t_block,
                network.final_layer,
            )
            for parameter in part.parameters()
        ]
        passed = {id(parameter) for parameter in slow}
        rest = [p for p in network.parameters() if id(p) not in passed]
        return [
            {"params": [*rest, *self.sketch.parameters()], "share": 1.0},
            {"params": slow, "share": self.recipe.passing_share},
        ]

    def run(self, state: Path, look: Callable[[Pair, int], None]) -> Pair:
        """Train through all stages and return the averaged pair.

        Saves to ``state``, and shows the average to ``look`` with the step.
        """
        if state.exists():
            self.resume(state)
        bar = tqdm(
            range(self.step, self.total), initial=self.step, total=self.total, desc="denoiser"
        )
        for _ in bar:
            stage = self._stage()
            ema = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
            loss = self.learn(self.loss(stage), self._rate(), ema)
            bar.set_postfix(loss=f"{loss:.3f}")
            self.step += 1
            if self._is_due(self.recipe.steps_between_saves):
                self.save(state)
            if self._is_due(self.recipe.steps_between_sheets):
                look(self.average, self.step)
        return self.average

    def save(self, path: Path) -> None:
        """Write all that a killed run needs to go on."""
        state = {
            "step": self.step,
            "pair": self.pair.state_dict(),
            "average": self.average.state_dict(),
            "sketch": self.sketch.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        unfinished = path.with_suffix(".part")
        torch.save(state, unfinished)
        unfinished.replace(path)

    def resume(self, path: Path) -> None:
        """Go on from what ``save`` wrote."""
        state = torch.load(path, weights_only=True, map_location=self.device)
        self.step = state["step"]
        self.pair.load_state_dict(state["pair"])
        self.average.load_state_dict(state["average"])
        self.sketch.load_state_dict(state["sketch"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.reseed()

    def reseed(self) -> None:
        """Set all chance by the step, so that a run that was resumed goes on as one that was not.

        Not by the seed alone: what was drawn up to this step was already learned from.
        """
        seed = self.recipe.seed + self.step
        for name, rng in (
            ("trainer", self.rng),
            ("lessons", self.lessons.rng),
            ("captions", self.lessons.captioner.rng),
        ):
            rng.seed(f"{name} {seed}")
        torch.manual_seed(seed)

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
        nn.utils.clip_grad_norm_(self.pair.transformer.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.transformer.parameters()),
                list(self.pair.transformer.parameters()),
                1 - ema,
            )
        return loss.item()

    def loss(self, stage: Stage) -> Tensor:
        """Return the loss of a batch of one of the stage's lessons."""
        (lesson,) = self.rng.choices(stage.lessons, [lesson.share for lesson in stage.lessons])
        size = self.rng.choice(lesson.sizes)
        batch = self.lessons.batch(stage, lesson, size).to(self.device)
        return self._missed(batch, stage.weight_limit, self._tokens(size, lesson.tokens))

    def _tokens(self, size: PictureSize, count: int) -> Tensor:
        """Choose tokens where shapes differ in any picture, and the last, which tells the size."""
        contested = self.lessons.stencils(size).contested_anywhere.unfold(0, 2, 2).unfold(1, 2, 2)
        frequency = _RARELY + contested.amax((2, 3)).flatten()
        if not count:
            return torch.arange(len(frequency))
        chosen = torch.multinomial(frequency[:-1], count - 1)
        return torch.cat([chosen.sort().values, torch.tensor([len(frequency) - 1])])

    def _missed(self, batch: Batch, weight_limit: float, tokens: Tensor) -> Tensor:
        """Return how far the predicted noise is from right, and what it is predicted by."""
        context = self.pair.context(batch.ids, batch.mask)
        predicted, half_way, uneven = self._predict(batch, context, tokens)
        counts = 1 + (self.recipe.contested_weight - 1) * batch.contested
        counts = _patches(counts / counts.mean(), tokens)
        # Divided by alpha this is the loss of the velocity; without it the steps in which text
        # decides the picture hardly count. The least noisy ask for more than any sampler needs.
        faint = (_FAINT * (1 - batch.alphas) / batch.alphas).clamp(max=1)
        weight = (faint / batch.alphas).clamp(max=weight_limit).unsqueeze(-1)
        noise = (weight * counts * (predicted - _patches(batch.noise, tokens)).square()).mean()
        sketched = self.sketch(functional.layer_norm(half_way, half_way.shape[-1:]))
        sketched = sketched.unflatten(-1, (NETWORK.patch_size, NETWORK.patch_size, 1))
        outline = (counts * (sketched - _patches(batch.covered, tokens)).square()).mean()
        return noise + self.recipe.sketch_weight * outline + self.recipe.even_weight * uneven

    def _predict(
        self, batch: Batch, context: Tensor, tokens: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run the transformer on some of its tokens.

        Returns predicted patches, the tokens half-way, and by how much their deviations differ
        from what lets noise pass undistorted.
        """
        network = self.pair.transformer
        state = network.prepare(batch.noisy, batch.timesteps, context, batch.mask)
        assert state.mask is not None
        x = state.tokens[:, tokens]
        state = replace(state, tokens=x, mask=state.mask[:, :, : len(tokens)])
        half_way, uneven = x, x.new_zeros(())
        for index in range(NETWORK.depth):
            x = network.run_block(index, x, state)
            half_way = x if index == _SKETCHED else half_way
            uneven = uneven + (x.var(-1).log() / 2 - math.log(DEVIATION)).square().mean()
        p = NETWORK.patch_size
        patches = network.final_layer(x, state.time).unflatten(-1, (p, p, -1))
        return patches[..., : NETWORK.in_channels], half_way, uneven

    def _rate(self) -> float:
        warming = min(1.0, (self.step + 1) / self.recipe.warm_up)
        return self.recipe.rate * warming * (1 - self.step / self.total)


def _patches(latents: Tensor, tokens: Tensor) -> Tensor:
    """Return some tokens' patches of latents, (N, C, H, W) to (N, tokens, p, p, C)."""
    p = NETWORK.patch_size
    patches = latents.unfold(2, p, p).unfold(3, p, p)  # N C rows columns p p
    return patches.permute(0, 2, 3, 4, 5, 1).flatten(1, 2)[:, tokens]
