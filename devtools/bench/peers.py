"""Who draws the same picture: diffusers, the host's own PixArt, and ours, part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from devtools.bench.turns import StepClock
from devtools.bench.weights import Model, written
from devtools.inprocess import import_pack
from devtools.pipelines import Prompts, reference_latent
from devtools.reference import diffusers_output, relative_error

GUIDANCE = 4.5
PROMPT_TOKENS, NEGATIVE_TOKENS = 24, 1
_PADDED = 120
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Task:
    """What is drawn."""

    device: str
    dtype: str
    side: int
    batch: int
    steps: int


class Peers:
    """All who can do a task, with the same weights."""

    def __init__(self, model: Model, device: str, dtype: str) -> None:
        import_pack()
        import comfy.sd
        from pixart_pack.nodes.host.loading import load_model

        path = written(model)
        self.device, self.dtype = torch.device(device), DTYPES[dtype]
        self.ours = load_model(path, model.family.name, dtype).patcher
        self.hosts = comfy.sd.load_diffusion_model(str(path), model_options={"dtype": self.dtype})
        self.diffusers = _diffusers(model).to(self.device, self.dtype)
        self.in_bf16 = None
        if device == "cpu" and dtype == "fp32":
            self.in_bf16 = load_model(path, model.family.name, "bf16").patcher
        generator = torch.Generator().manual_seed(1)
        self.captions = [
            torch.randn(1, n, model.scale.caption_channels, generator=generator)
            for n in (PROMPT_TOKENS, NEGATIVE_TOKENS)
        ]

    def tell(self, clock: StepClock) -> None:
        """Let a clock know when any of the networks begins to run."""
        networks = [self.diffusers, self.hosts.model.diffusion_model]
        networks += [one.model.diffusion_model for one in (self.ours, self.in_bf16) if one]
        for network in networks:
            network.register_forward_pre_hook(clock.mark)

    def runs(self, task: Task, parts: bool) -> dict[str, Callable[[], object]]:
        """Return the runs of a task by name; with ``parts`` ours without each shortcut, too."""
        found: dict[str, Callable[[], object]] = {"diffusers": lambda: self._diffusers(task)}
        if task.device == "cuda":
            self.compiled = torch.compile(self.diffusers, mode="max-autotune", fullgraph=True)
            found["diffusers, compiled"] = lambda: self._diffusers(task, self.compiled)
        else:
            found["diffusers, oneDNN"] = lambda: self._diffusers(task, precision="medium")
        found["host, KSampler"] = lambda: self._ksampler(self.hosts, task)
        if task.device == "cpu":
            found["host, KSampler, oneDNN"] = lambda: self._ksampler(
                self.hosts, task, precision="medium"
            )
        found["ours, KSampler"] = lambda: self._ksampler(self.ours, task)
        found["ours, PixArtSampler"] = lambda: self._sampler(self.ours, task)
        if self.in_bf16 is not None:
            found["ours, bf16"] = lambda: self._ksampler(self.in_bf16, task)
        found["ours, KSampler, compiled"] = lambda: self._ksampler(self._compiled(), task)
        if task.device == "cpu":
            del found["ours, KSampler, compiled"]
        for name, model in self.ablations().items() if parts else ():
            found[name] = lambda model=model: self._ksampler(model, task)  # type: ignore[misc]
        return found

    def draw(self, task: Task, tokens: int) -> Tensor:
        """Draw by ours with a prompt of so many tokens."""
        generator = torch.Generator().manual_seed(3)
        shape = (1, tokens, self.captions[0].shape[-1])
        prompt = torch.randn(shape, generator=generator)
        return self._ksampler(self.ours, task, captions=(prompt, self.captions[1]))

    def ablations(self) -> dict[str, Any]:
        """Return our MODEL, and the one in bf16, without each of its shortcuts and without any."""
        from pixart_pack.pixart_core.network.kept_caption import Shortcuts

        names = [part.name for part in fields(Shortcuts)]
        kinds = {"ours": self.ours, "ours, bf16": self.in_bf16}
        return {
            f"{kind} without {name}": self.with_shortcuts(model, Shortcuts(**off))
            for kind, model in kinds.items()
            if model
            for name, off in [
                *((name, {name: False}) for name in names),
                ("any", dict.fromkeys(names, False)),
            ]
        }

    def with_shortcuts(self, model: Any, shortcuts: Any) -> Any:
        """Return a MODEL of ours with these shortcuts alone."""
        from pixart_pack.nodes.host.run import SHORTCUTS

        model = model.clone()
        model.model_options.setdefault("transformer_options", {})[SHORTCUTS] = shortcuts
        return model

    def why_not(self, run: Callable[[], object]) -> str:
        """Run once; return why it cannot run, or nothing."""
        try:
            run()
        except (ZeroDivisionError, NotImplementedError) as error:
            return f"{type(error).__name__}: {error}"
        return ""

    @torch.inference_mode()
    def error(self, task: Task, model: Any, calls: int = 3) -> float:
        """Return the relative L2 of one guided step of ours to diffusers' in fp32.

        ``calls`` as in a run, so that what is kept takes part.
        """
        from pixart_pack.nodes.host.run import MEMORY, acting_weights
        from pixart_pack.pixart_core.network.matmul import fast_matmul
        from pixart_pack.pixart_core.network.run_memory import RunMemory

        given = self._inputs(task)
        exact = diffusers_output(self.diffusers.float(), **given)
        self.diffusers.to(self.dtype)
        dtype = model.model.get_dtype_inference()
        channels = given["x"].shape[1]
        x, context = (given[name].to(dtype) for name in ("x", "context"))
        network = model.model.diffusion_model.to(self.device)
        options = {MEMORY: RunMemory(weights_of=acting_weights)}
        with fast_matmul(self.device, dtype):
            for _ in range(calls):
                found = network(
                    *(x, given["t"], context, given["mask"], given["size"]),
                    transformer_options=options,
                )
        return relative_error(found, exact[:, :channels])

    @torch.inference_mode()
    def error_of_diffusers(self, task: Task, dtype: torch.dtype) -> float:
        """Return the relative L2 of a guided step of diffusers' in a precision to its fp32."""
        given = self._inputs(task)
        exact = diffusers_output(self.diffusers.float(), **given)
        rounded = {
            name: value.to(dtype) if name in ("x", "context") else value
            for name, value in given.items()
        }
        found = diffusers_output(self.diffusers.to(dtype), **rounded)
        self.diffusers.to(self.dtype)
        channels = given["x"].shape[1]
        return relative_error(found[:, :channels], exact[:, :channels])

    def _inputs(self, task: Task) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(2)
        longest = PROMPT_TOKENS
        mask = torch.tensor([[1] * n + [0] * (longest - n) for n in (longest, NEGATIVE_TOKENS)])
        captions = torch.cat([_padded(caption, longest) for caption in self.captions])
        given = {
            "x": torch.randn(2, 4, task.side // 8, task.side // 8, generator=generator),
            "t": torch.full((2,), 600.0),
            "context": captions,
            "mask": mask,
            "size": torch.full((2, 2), task.side),
        }
        # Representable in bf16, so that what is measured is the arithmetic and not the input.
        rounded = {name: given[name].bfloat16().float() for name in ("x", "context")}
        return {name: value.to(self.device) for name, value in {**given, **rounded}.items()}

    def _noise(self, task: Task) -> Tensor:
        return torch.randn(task.batch, 4, task.side // 8, task.side // 8)

    def _diffusers(self, task: Task, network: Any = None, precision: str = "") -> Tensor:
        prompt, negative = (
            _padded(c, _PADDED).to(self.device, self.dtype).repeat(task.batch, 1, 1)
            for c in self.captions
        )
        masks = [
            (torch.arange(_PADDED, device=self.device) < c.shape[1]).long().repeat(task.batch, 1)
            for c in self.captions
        ]
        noise = self._noise(task).to(self.device, self.dtype)
        prompts = Prompts(prompt, masks[0], negative, masks[1])
        with _precision(precision):
            return reference_latent(
                network or self.diffusers, "DPM-Solver++", prompts, noise, task.steps, GUIDANCE
            )

    @torch.inference_mode()
    def _ksampler(
        self,
        model: Any,
        task: Task,
        precision: str = "",
        captions: Sequence[Tensor] | None = None,
    ) -> Tensor:
        import comfy.sample

        empty = torch.zeros(task.batch, 4, task.side // 8, task.side // 8)
        positive, negative = ([[caption, {}]] for caption in captions or self.captions)
        with _precision(precision):
            found: Tensor = comfy.sample.sample(
                *(model, self._noise(task), task.steps, GUIDANCE, "dpmpp_2m", "sgm_uniform"),
                *(positive, negative, empty),
                disable_pbar=True,
                seed=0,
            )
        return found

    @torch.inference_mode()
    def _sampler(self, model: Any, task: Task) -> Tensor:
        from pixart_pack.nodes.host.sampler import Settings, sample

        empty = torch.zeros(task.batch, 4, task.side // 8, task.side // 8)
        positive, negative = ([[caption, {}]] for caption in self.captions)
        settings = Settings(0, task.steps, GUIDANCE, "DPM-Solver++", 1.0)
        out, _ = sample(model, positive, negative, {"samples": empty}, settings)
        found: Tensor = out["samples"]
        return found

    def _compiled(self) -> Any:
        from comfy_extras.nodes_torch_compile import TorchCompileModel

        if not hasattr(self, "_compiled_model"):
            (self._compiled_model,) = TorchCompileModel.execute(self.ours, "inductor").args
        return self._compiled_model


def _diffusers(model: Model) -> Any:
    from devtools.reference import diffusers_transformer

    # The same seed as the file's, so the same weights.
    return diffusers_transformer(model.family, model.scale)


def _padded(caption: Tensor, length: int) -> Tensor:
    missing = length - caption.shape[1]
    return torch.nn.functional.pad(caption, (0, 0, 0, missing))


@contextmanager
def _precision(name: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    if name:
        torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
