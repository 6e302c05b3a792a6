"""The pack inside this process, with the real host around it."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import sys
from types import ModuleType

from devtools.environment import ROOT, host_folder

PACK = "pixart_pack"


def import_pack() -> ModuleType:
    """Import the pack as the host imports it, under the name ``pixart_pack``; once."""
    if PACK in sys.modules:
        return sys.modules[PACK]
    import torch

    # First, because the host's own top-level module is called nodes, as our folder is.
    sys.path.insert(0, str(host_folder()))
    given, sys.argv = sys.argv, ["pack", *([] if torch.cuda.is_available() else ["--cpu"])]
    import comfy.options

    comfy.options.enable_args_parsing()
    import comfy.cli_args

    sys.argv = given
    # As the host's main does: its comfy folder, which comes before it on the path, has a utils too.
    importlib.import_module("utils.extra_config")
    spec = importlib.util.spec_from_file_location(
        PACK, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    asyncio.run(module.comfy_entrypoint())
    return module
