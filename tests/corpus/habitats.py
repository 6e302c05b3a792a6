"""For each node of the pack a small good graph in which it stands, under the id ``x``."""

from __future__ import annotations

from typing import Any

SIDE = 64
PICTURE = "corpus.png"
"""What lies in the host's input folder."""
HED = "hed-corpus.safetensors"
SAVED = "corpus_00001.safetensors"
"""A prompt saved with the demo's T5."""

Graph = dict[str, dict[str, Any]]


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    """Return a node of a graph."""
    return {"class_type": kind, "inputs": inputs}


_PARTS: Graph = {
    "model": node(
        "PixArtModelLoader", file="pixart-demo.safetensors", variant="auto", weight_dtype="auto"
    ),
    "t5": node("PixArtT5Loader", file="t5-demo.safetensors", precision="auto", device="auto"),
    "positive": node(
        "PixArtTextEncode", clip=["t5", 0], text="a red circle", cleaning="auto", model=["model", 0]
    ),
    "negative": node(
        "PixArtTextEncode", clip=["t5", 0], text="", cleaning="auto", model=["model", 0]
    ),
    "size": node("PixArtResolution", width=SIDE, height=SIDE, batch_size=1),
    "sampler": node(
        "PixArtSampler",
        **{"model": ["model", 0], "positive": ["positive", 0], "negative": ["negative", 0]},
        **{"latent_image": ["size", 0], "seed": 0, "steps": 1, "guidance": 4.5},
        **{"solver": "DPM-Solver++", "denoise": 1.0},
    ),
    "vae": node("VAELoader", vae_name="vae-demo.safetensors"),
    "picture": node("VAEDecode", samples=["sampler", 0], vae=["vae", 0]),
    "saved": node("SaveImage", images=["picture", 0], filename_prefix="corpus"),
}
_IMAGE: Graph = {"image": node("LoadImage", image=PICTURE)}


def _whole(**changes: dict[str, Any]) -> Graph:
    """Return the common graph with nodes added or replaced."""
    return {**_PARTS, **changes}


def _sampled(**links: Any) -> dict[str, Any]:
    return node("PixArtSampler", **{**_PARTS["sampler"]["inputs"], **links})


def _instead(name: str) -> Graph:
    """Return the common graph with one of its nodes as the one that is looked at."""
    graph = {key: value for key, value in _PARTS.items() if key != name}
    changed = {
        key: {**other, "inputs": {k: _to_x(v, name) for k, v in other["inputs"].items()}}
        for key, other in graph.items()
    }
    return {**changed, "x": _PARTS[name]}


def _to_x(value: Any, name: str) -> Any:
    return ["x", value[1]] if isinstance(value, list) and value[0] == name else value


def _shown(kind: str, slot: int = 0, **inputs: Any) -> Graph:
    """Return a graph whose node's output is only shown."""
    return {"x": node(kind, **inputs), "shown": node("PreviewAny", source=["x", slot])}


def _old(kind: str, **inputs: Any) -> dict[str, Any]:
    return node(f"PixArtLegacy{kind}", **inputs)


_CUSTOM = node(
    "SamplerCustom",
    **{"model": ["model", 0], "add_noise": True, "noise_seed": 0, "cfg": 4.5},
    **{"positive": ["positive", 0], "negative": ["negative", 0], "sampler": ["solver", 0]},
    **{"sigmas": ["sigmas", 0], "latent_image": ["size", 0]},
)
_SOLVER = node("PixArtSolver", solver="auto")
_SCHEDULE = node(
    "PixArtSchedule",
    **{"model": ["model", 0], "solver": "auto", "steps": 2, "denoise": 1.0},
    **{"start_step": 0, "end_step": 999},
)

HABITATS: dict[str, Graph] = {
    "PixArtModelLoader": _instead("model"),
    "PixArtModelInfo": _shown("PixArtModelInfo", file="pixart-demo.safetensors"),
    "PixArtT5Loader": _instead("t5"),
    "PixArtTextEncode": _instead("positive"),
    "PixArtPromptBatch": _whole(
        x=node(
            "PixArtPromptBatch",
            **{"clip": ["t5", 0], "texts": "a red circle", "cleaning": "auto"},
            model=["model", 0],
        ),
        sampler=_sampled(positive=["x", 0]),
    ),
    "PixArtStyle": _shown("PixArtStyle", prompt="a", negative="b", style="(No style)"),
    "PixArtNullConditioning": _whole(
        x=node("PixArtNullConditioning", model=["model", 0], positive=["positive", 0]),
        sampler=_sampled(negative=["x", 0]),
    ),
    "PixArtSaveConditioning": {
        **{name: _PARTS[name] for name in ("model", "t5", "positive")},
        "x": node("PixArtSaveConditioning", conditioning=["positive", 0], name="corpus-x"),
    },
    "PixArtLoadConditioning": _whole(
        x=node("PixArtLoadConditioning", file=SAVED, model=["model", 0]),
        sampler=_sampled(positive=["x", 0]),
    ),
    "PixArtResolution": {
        **_instead("size"),
        **_IMAGE,
        "x": node(
            "PixArtResolution",
            **{**_PARTS["size"]["inputs"], "model": ["model", 0], "image": ["image", 0]},
        ),
    },
    "PixArtResolutionConditioning": _whole(
        x=node("PixArtResolutionConditioning", conditioning=["positive", 0], width=64, height=64),
        sampler=_sampled(positive=["x", 0]),
    ),
    "PixArtSampler": _instead("sampler"),
    "PixArtControlNetLoader": _whole(
        **_IMAGE,
        x=node("PixArtControlNetLoader", file="random-control.safetensors"),
        applied=node(
            "ControlNetApplyAdvanced",
            **{"positive": ["positive", 0], "negative": ["negative", 0], "control_net": ["x", 0]},
            **{"image": ["image", 0], "vae": ["vae", 0]},
            **{"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0},
        ),
        sampler=_sampled(positive=["applied", 0], negative=["applied", 1]),
    ),
    "PixArtHED": {**_IMAGE, **_shown("PixArtHED", image=["image", 0], file=HED)},
    "PixArtLora": _whole(
        x=node(
            "PixArtLora", model=["model", 0], file="random.safetensors", strength=1.0, alpha=0.0
        ),
        sampler=_sampled(model=["x", 0]),
    ),
    "PixArtSolver": _whole(x=_SOLVER, sigmas=_SCHEDULE, sampler=_CUSTOM)
    | {"sampler": node("SamplerCustom", **{**_CUSTOM["inputs"], "sampler": ["x", 0]})},
    "PixArtSchedule": _whole(solver=_SOLVER)
    | {
        "x": _SCHEDULE,
        "sampler": node("SamplerCustom", **{**_CUSTOM["inputs"], "sigmas": ["x", 0]}),
    },
    "PixArtLegacyCheckpointLoader": _whole(
        x=_old("CheckpointLoader", ckpt_name="pixart-demo.safetensors", model="PixArt_XL_2"),
        sampler=_sampled(model=["x", 0]),
    ),
    "PixArtLegacyCheckpointLoaderSimple": _whole(
        x=_old("CheckpointLoaderSimple", ckpt_name="pixart-demo.safetensors"),
        sampler=_sampled(model=["x", 0]),
    ),
    "PixArtLegacyResolutionSelect": _shown(
        "PixArtLegacyResolutionSelect", model="PixArt_XL_2", ratio="1.00"
    ),
    "PixArtLegacyResolutionCond": _whole(
        x=_old("ResolutionCond", cond=["positive", 0], width=64, height=64),
        sampler=_sampled(positive=["x", 0]),
    ),
    "PixArtLegacyLoraLoader": _whole(
        x=_old("LoraLoader", model=["model", 0], lora_name="random.safetensors", strength=1.0),
        sampler=_sampled(model=["x", 0]),
    ),
    "PixArtLegacyControlNetCond": _whole(
        **_IMAGE,
        latent=node("VAEEncode", pixels=["image", 0], vae=["vae", 0]),
        controlled=_old("CheckpointLoader", ckpt_name="with-model.pth", model="ControlPixArtHalf"),
        x=_old("ControlNetCond", cond=["positive", 0], latent=["latent", 0]),
        sampler=_sampled(positive=["x", 0], model=["controlled", 0]),
    ),
    "PixArtLegacyT5Loader": _whole(
        x=_old(
            "T5Loader",
            **{"t5v11_name": "t5-demo.safetensors", "t5v11_ver": "xxl", "path_type": "file"},
            **{"device": "cpu", "dtype": "default"},
        ),
        positive=node(
            "PixArtTextEncode", clip=["x", 0], text="a", cleaning="auto", model=["model", 0]
        ),
    ),
    "PixArtLegacyT5TextEncode": _whole(
        x=_old("T5TextEncode", text="a red circle", T5=["t5", 0]),
        sampler=_sampled(positive=["x", 0]),
    ),
    "PixArtLegacyTextEncode": _whole(
        x=_old("TextEncode", text="a red circle", T5=["t5", 0]),
        sampler=_sampled(positive=["x", 0]),
    ),
    "PixArtLegacyT5FromSD3": _shown("PixArtLegacyT5FromSD3", sd3_clip=["t5", 0], padding=1)
    | {"t5": _PARTS["t5"]},
}


def good_graph(seed: int, prefix: str) -> Graph:
    """Return the graph whose picture must be the same after each bad one: 2 steps at 128 px."""
    graph = _whole(
        size=node("PixArtResolution", width=128, height=128, batch_size=1),
        sampler=_sampled(seed=seed, steps=2),
    )
    return graph | {"saved": node("SaveImage", images=["picture", 0], filename_prefix=prefix)}
