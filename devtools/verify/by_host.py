"""Pictures of a prompt by our nodes and by the host's own, in one host."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from devtools.client import ExecutionFailed, Graph, HostClient, Rejected
from devtools.failure import Failure
from devtools.server import HostServer

from .graphs import SAVED_LATENT, Files, decoding_graph, our_graph, stock_graph
from .sheet import Course, Item

_LATENT, _PLAIN = "latent_tensor", "latent_format_version_0"
"""Names in the host's latent files; the second says that the numbers are taken as they are."""


@dataclass(frozen=True)
class Drawn:
    """A picture with its latent (1, 4, h, w) in the VAE's scale."""

    picture: Image.Image
    latent: Tensor


class HostArtist:
    """Context manager around a host with the user's files."""

    def __init__(
        self, paths: Mapping[str, Sequence[Path]], files: Files, variant: str, course: Course
    ) -> None:
        self._server = HostServer(paths)
        self._files, self._variant, self._course = files, variant, course

    def __enter__(self) -> HostArtist:
        self._server.__enter__()
        self._client = HostClient(self._server.address)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.__exit__(kind, error, trace)

    def ours(self, item: Item) -> Drawn:
        """Draw with our nodes. Raises Failure."""
        try:
            return self._draw(our_graph(self._files, self._variant, self._course, item))
        except (Rejected, ExecutionFailed) as error:
            raise Failure(
                "Could not draw with these files",
                found=f"“{error}”",
                expected="a picture",
                do="mend that and try again",
            ) from error

    def stock(self, item: Item) -> Drawn | str:
        """Draw with the host's own nodes, or return what it says."""
        try:
            return self._draw(stock_graph(self._files, self._course, item))
        except (Rejected, ExecutionFailed) as error:
            return f"cannot: {str(error).splitlines()[0][:200]}"

    def decoded(self, item: Item, latent: Tensor | None) -> Drawn | str:
        """Decode a latent in the model's scale with the same VAE; say why there is none."""
        if latent is None:
            return "cannot: transformers does not read a quantised T5"
        own = latent / self._course.latent_scale
        name = f"verify-{item.seed}.latent"
        tensors = {_LATENT: own.contiguous(), _PLAIN: torch.tensor([])}
        save_file(tensors, self._server.base / "input" / name)
        return Drawn(self._picture(decoding_graph(self._files, name))[0], own)

    def _draw(self, graph: Graph) -> Drawn:
        picture, (kept,) = self._picture(graph)
        path = self._server.base / "output" / kept["subfolder"] / kept["filename"]
        return Drawn(picture, load_file(path)[_LATENT])

    def _picture(self, graph: Graph) -> tuple[Image.Image, list[dict[str, str]]]:
        result = self._client.run(graph)
        (image,) = result.images()
        picture = Image.open(io.BytesIO(self._client.image(image))).convert("RGB")
        return picture, list(result.outputs.get(SAVED_LATENT, {}).get("latents", ()))
