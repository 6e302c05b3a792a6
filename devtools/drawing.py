"""Pictures of trials: drawn by the shipped workflow in a running host, and judged."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass

from PIL import Image
from tqdm import tqdm

from demo.judge import Verdict, judge
from demo.trials import Trial
from devtools.client import HostClient
from devtools.demo import WORKFLOW
from devtools.setting import Values, parse_setting
from devtools.workflow import Workflow


@dataclass(frozen=True)
class Outcome:
    """What became of a trial."""

    trial: Trial
    verdict: Verdict
    picture: Image.Image

    @property
    def has_colours(self) -> bool:
        """Whether object and ground have the named colours."""
        return self.verdict.has_colours_of(self.trial.scene)

    @property
    def is_right(self) -> bool:
        """Whether shape and colours are the named ones."""
        return self.verdict.matches(self.trial.scene)

    @property
    def has_size(self) -> bool:
        """Whether the object is as large as named."""
        return self.verdict.has_size_of(self.trial.scene)

    @property
    def has_place(self) -> bool:
        """Whether the object is where it is named to be."""
        return self.verdict.has_place_of(self.trial.scene)

    @property
    def colour_distance(self) -> float:
        """Mean distance of both colours from the named ones."""
        return self.verdict.colour_distance(self.trial.scene)


class Artist:
    """Draws with the shipped workflow, at its defaults but for a setting."""

    def __init__(self, client: HostClient, setting: str = "") -> None:
        self._client = client
        self._workflow = Workflow(WORKFLOW)
        self._setting = setting
        self._values = parse_setting(setting, self._workflow)
        self._places = {
            "prompt": (self._prompt_node("positive"), "text"),
            "negative": (self._prompt_node("negative"), "text"),
            "seed": (self._workflow.node_id("PixArtSampler"), "seed"),
            **{
                name: (self._workflow.node_id("PixArtResolution"), name)
                for name in ("width", "height", "batch_size")
            },
        }

    def _prompt_node(self, input_name: str) -> str:
        return self._workflow.node_id("PixArtTextEncode", ("PixArtSampler", input_name))

    def with_setting(self, setting: str) -> Artist:
        """Return an artist on the same host who has this setting on top of the own one."""
        return Artist(self._client, f"{self._setting} {setting}")

    def draw(self, **values: str | int) -> list[Image.Image]:
        """Return the pictures of one prompt; names as in ``dev.py demo``, and ``batch_size``."""
        own: Values = {self._places[name]: value for name, value in values.items()}
        result = self._client.run(self._workflow.with_values({**own, **self._values}))
        files = [self._client.image(image) for image in result.images()]
        return [Image.open(io.BytesIO(file)).convert("RGB") for file in files]

    def attempt(self, trials: Iterable[Trial], name: str) -> list[Outcome]:
        """Draw and judge each trial by itself, under a progress bar of this name."""
        return [self._attempt(trial) for trial in tqdm(trials, desc=name, unit="prompt")]

    def _attempt(self, trial: Trial) -> Outcome:
        (picture,) = self.draw(
            prompt=trial.prompt, seed=trial.seed, width=trial.width, height=trial.height
        )
        return Outcome(trial, judge(picture), picture)
