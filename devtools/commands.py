"""The commands of dev.py: a table, read before and inside the environment."""

from __future__ import annotations

from dataclasses import dataclass

from devtools.failure import Failure


@dataclass(frozen=True)
class Command:
    """A module with ``main(arguments: list[str]) -> int``, and what it imports from outside.

    ``needs`` maps a module to the name that pip and pins.toml know it by.
    """

    module: str
    help: str
    needs: dict[str, str]


_CLIENT = {"torch": "torch", "requests": "requests", "websocket": "websocket-client"}
_PACK = {"diffusers": "diffusers", "transformers": "transformers", "safetensors": "safetensors"}
_CHECKS = {
    **{name: name for name in ("pytest", "ruff", "mypy", "hypothesis")},
    "pytest_cov": "pytest-cov",
    "xdist": "pytest-xdist",
}

COMMANDS = {
    "demo": Command(
        "devtools.demo",
        "draw a picture with the demo model in a headless ComfyUI",
        {**_CLIENT, **_PACK, "tqdm": "tqdm"},
    ),
    "host": Command(
        "devtools.host",
        "open the editor with the pack and the demo model, until Ctrl-C",
        {"torch": "torch", **_PACK},
    ),
    "test": Command(
        "devtools.test",
        "run the linter, the type checker and the tests",
        {**_CLIENT, **_PACK, **_CHECKS},
    ),
    "compat": Command(
        "devtools.compat",
        "run the tests inside the host against older versions of ComfyUI",
        {**_CLIENT, **_PACK, **_CHECKS},
    ),
    "adherence": Command(
        "devtools.adherence",
        "measure how often the demo model draws what it is told",
        {**_CLIENT, **_PACK},
    ),
    "control": Command(
        "devtools.control",
        "measure how well the demo's ControlNet makes the model follow edges",
        {**_CLIENT, **_PACK, "tqdm": "tqdm"},
    ),
    "teach": Command(
        "devtools.teach",
        "teach the demo model a word from eight pictures, inside the host",
        {**_CLIENT, **_PACK, "tqdm": "tqdm"},
    ),
    "soak": Command(
        "devtools.soak.command",
        "run a long mixed queue on one server: the same pictures, and no memory lost",
        {**_CLIENT, **_PACK, "tqdm": "tqdm", "matplotlib": "matplotlib"},
    ),
    "fuzz": Command(
        "devtools.fuzz.command",
        "give damaged files to every reader, for so many minutes",
        {"torch": "torch", **_PACK, "tqdm": "tqdm"},
    ),
    "corpus": Command(
        "devtools.corpus",
        "give every bad input of the corpus to one server, with a good picture after each",
        {**_CLIENT, **_PACK, **_CHECKS},
    ),
    "audit": Command(
        "devtools.audit",
        "ask for published holes in what the pack depends on (needs PyPI)",
        {"packaging": "packaging", "pip_audit": "pip-audit"},
    ),
    "mutants": Command(
        "devtools.mutants",
        "put small faults into the code, and see whether a test notices each",
        {**_CLIENT, **_PACK, **_CHECKS, "mutmut": "mutmut"},
    ),
    "golden": Command(
        "devtools.golden",
        "say whether the demo model still draws the latents that are kept",
        {**_CLIENT, **_PACK, "tqdm": "tqdm"},
    ),
    "verify": Command(
        "devtools.verify.command",
        "try your own files: pictures by ours, by ComfyUI's own PixArt and by diffusers",
        {**_CLIENT, **_PACK, "tqdm": "tqdm"},
    ),
    "parity": Command(
        "devtools.parity",
        "compare our transformer with diffusers', --full at the released size",
        {"torch": "torch", **_PACK, "tqdm": "tqdm"},
    ),
    "bench": Command(
        "devtools.bench.__main__",
        "measure time, memory and what they cost: `bench --help` lists it",
        {"torch": "torch", **_PACK, "tqdm": "tqdm"},
    ),
    "templates": Command(
        "devtools.templates.writing",
        "write the workflows of the template browser",
        {**_CLIENT, **_PACK},
    ),
    "pictures": Command(
        "devtools.templates.pictures",
        "draw the pictures of README, registry and template browser by the demo model",
        {**_CLIENT, **_PACK, "tqdm": "tqdm"},
    ),
    "models": Command(
        "devtools.official", "list the official files, where they go, and which are there", {}
    ),
    "screenshots": Command(
        "devtools.screenshots",
        "take the pictures of the help pages, in a browser",
        {**_CLIENT, **_PACK, "playwright": "playwright"},
    ),
    "freeze": Command(
        "devtools.freeze",
        "keep this version's nodes and workflows, which later versions must go on running",
        {**_CLIENT, **_PACK},
    ),
    "package": Command("devtools.package", "build the zip that would be published", {}),
    "pages": Command(
        "devtools.pages",
        "write the pages of docs/ that are made from tables in the code",
        {"torch": "torch", **_PACK},
    ),
    "train": Command(
        "devtools.train",
        "train the demo model from nothing (hours), or `train controlnet`",
        {"torch": "torch", **_PACK},
    ),
}


def usage() -> str:
    """Return the list of commands, as ``python dev.py`` prints it."""
    lines = [f"  {name:<10} {command.help}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "Usage: python dev.py COMMAND [OPTIONS]",
            "",
            *lines,
            "",
            "`python dev.py COMMAND --help` lists the options of a command. The first run makes",
            "the environment (.venv, .cache); set COMFYUI_PATH and COMFYUI_PYTHON to use an",
            "existing ComfyUI and its Python instead.",
        ]
    )


def command_named(name: str) -> Command:
    """Return the command of this name. Raises Failure where there is none."""
    if name not in COMMANDS:
        raise Failure(
            "Could not run dev.py",
            found=f"the command {name!r}",
            expected=f"one of {', '.join(COMMANDS)}",
            do="run `python dev.py --help` for what they do",
        )
    return COMMANDS[name]
