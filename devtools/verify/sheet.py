"""What is drawn: a fixed sheet of prompts, and what each picture must show whoever draws it."""

from __future__ import annotations

from dataclasses import dataclass

NEGATIVE = ""


@dataclass(frozen=True)
class Item:
    """A prompt with its seed; in lower case and without marks, which no cleaning changes."""

    prompt: str
    seed: int
    colours: tuple[str, ...] = ()
    """Colours that must be seen in it."""


SHEET = (
    Item("a red circle on a blue background", 0, ("red", "blue")),
    Item("a large yellow star on a green background", 1, ("yellow", "green")),
    Item("a small cactus with a happy face in the sahara desert", 2),
    Item("an oil painting of a lighthouse in a storm", 3),
    Item("portrait photo of an old fisherman with a grey beard", 4),
)
"""The first two can be judged by their colours, and the demo model knows them too."""


@dataclass(frozen=True)
class Course:
    """What is the same for all pictures of a run."""

    side: int
    """Of the square pictures, in pixels."""
    steps: int
    guidance: float
    solver: str
    latent_scale: float
    """From the VAE's latents to the model's."""
    size_conditions: bool
    sigma: bool
