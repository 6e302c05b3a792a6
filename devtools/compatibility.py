"""The page of host nodes that work with our models, made from the tests that show it."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from typing import Any

import pytest

from devtools.environment import ROOT
from devtools.pins import read_pins

HOST_NODES = {
    "Sampling": (
        *("KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced"),
        *("KarrasScheduler", "BasicGuider", "PerpNegGuider"),
    ),
    "Guidance, caches and other patches": (
        *("RescaleCFG", "SkipLayerGuidanceDiT", "NAGuidance", "FreSca", "DifferentialDiffusion"),
        *("EasyCache", "LazyCache", "ModelSamplingDiscrete", "TorchCompileModel"),
    ),
    "Prompts": (
        *("ConditioningAverage", "ConditioningConcat", "ConditioningCombine"),
        *("ConditioningZeroOut", "ConditioningSetTimestepRange", "ConditioningSetArea"),
        *("ConditioningSetMask", "ConditioningSetProperties", "CreateHookLora"),
    ),
    "LoRA, ControlNet, training": (
        *("LoraLoaderModelOnly", "ControlNetApplyAdvanced", "TrainLoraNode", "SaveLoRA"),
    ),
    "Models and text encoders": (
        *("ModelMergeSimple", "ModelMergeWAN2_1", "ModelMergeSubtract", "ModelMergeAdd"),
        *("ModelSave", "CheckpointSave", "CLIPSave", "SelectModelDevice", "SelectCLIPDevice"),
    ),
    "Latents and pictures": (
        *("SetLatentNoiseMask", "VAEEncodeForInpaint", "VAEDecodeTiled", "LatentUpscale"),
        *("LatentComposite", "SaveLatent", "LoadLatent", "ImageScale", "UpscaleModelLoader"),
        *("ImageUpscaleWithModel",),
    ),
}
"""Nodes of ComfyUI that people put around a model, by what they do."""

CANNOT = {
    "HyperTile": "cuts the attention of a U-Net into tiles by the U-Net's own sizes",
    "TomePatchModel": "merges tokens by a patch of a U-Net's attention, which a transformer "
    "does not call",
    "FreeU, FreeU_V2": "scale the skip connections of a U-Net; a transformer has none",
    "ModelMergeBlocks": "names the parts of a U-Net; here its first ratio counts for the whole "
    "model. `ModelMergeWAN2_1` names blocks as ours are named",
    "PerturbedAttentionGuidance": "replaces the attention in the middle of a U-Net; "
    "SkipLayerGuidanceDiT does the like for transformers",
    "SelfAttentionGuidance": "blurs what a U-Net's middle attends to",
    "DeepCache and the like": "keep a U-Net's inner blocks; EasyCache and LazyCache work",
    "MultiGPU_WorkUnits": "splits prompt and negative between graphics cards; no machine of the "
    "tests has two, so that it was only read that it finds what it asks of a model",
}
"""Nodes that cannot act on a transformer, or were not run, and why."""

LACKING = {
    "0.26 and older": "int8: T5 is kept in fp8 instead, with a notice in the log; a file in int8 "
    "is refused with a sentence",
    "0.16": "`SelectModelDevice`, `SelectCLIPDevice`",
}
"""By version of ComfyUI: what of ours, or of the nodes above, it lacks."""

_MARK = "acts"


class _Collector:
    """Takes the marked tests while pytest collects them."""

    def __init__(self) -> None:
        self.tests: dict[str, list[str]] = defaultdict(list)

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Note which nodes each test is for."""
        for item in items:
            parameters = item.callspec.params if hasattr(item, "callspec") else {}
            for mark in item.iter_markers(_MARK):
                for name in mark.args:
                    test = item.nodeid.partition("[")[0]
                    own = self.tests[name.format(**parameters)]
                    own += [] if test in own else [test]


def compatibility_page() -> str:
    """Return docs/compatibility.md."""
    tests = _collected()
    known = {name for names in HOST_NODES.values() for name in names}
    if known != tests.keys():
        raise ValueError(f"in the page or in the tests alone: {sorted(known ^ tests.keys())}")
    lines = [
        "# ComfyUI's own nodes with PixArt models",
        "",
        "Made by `python dev.py pages` from the tests that show each node to act: the picture, or",
        "the number of the network's runs, changes as it should. Run one with",
        "`python dev.py test FILE -k NAME`.",
        "",
    ]
    for group, names in HOST_NODES.items():
        lines += [f"## {group}", "", "| node | what is shown | in |", "| -- | -- | -- |"]
        lines += [f"| `{name}` | {_shown(tests[name])} | {_files(tests[name])} |" for name in names]
        lines += [""]
    lines += ["## What cannot act, or was not run", "", "| node | why |", "| -- | -- |"]
    lines += [f"| {name} | {why} |" for name, why in CANNOT.items()]
    return "\n".join([*lines, *_older_hosts(), ""])


def _older_hosts() -> list[str]:
    pins = read_pins()
    versions = ", ".join(pin.host_version for pin in (*pins.older, pins.host))
    return [
        "",
        "## Older versions of ComfyUI",
        "",
        f"`python dev.py compat` runs these tests in {versions}; a test of",
        "what a version lacks counts as lacking there.",
        "",
        "| version | what it lacks |",
        "| -- | -- |",
        *(f"| {version} | {what} |" for version, what in LACKING.items()),
    ]


def _shown(tests: list[str]) -> str:
    names = (test.rpartition("::")[2].removeprefix("test_") for test in tests)
    return "; ".join(name.replace("_", " ") for name in names)


def _files(tests: list[str]) -> str:
    return ", ".join(dict.fromkeys(f"`{test.partition('::')[0]}`" for test in tests))


def _collected() -> dict[str, list[str]]:
    """Collect the tests in a process of their own, since these may be running."""
    command = [sys.executable, "-m", "devtools.compatibility"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tests: dict[str, list[str]] = defaultdict(list)
    for line in listed.splitlines():
        name, tab, test = line.partition("\t")
        if tab:
            tests[name].append(test)
    return tests


def _main() -> int:
    collector = _Collector()
    quiet = ["--collect-only", "-qq", "--disable-warnings", "tests/host"]
    code = int(pytest.main(quiet, plugins=[collector]))
    for name, tests in collector.tests.items():
        for test in tests:
            print(name, test, sep="\t")
    return code


if __name__ == "__main__":
    sys.exit(_main())
