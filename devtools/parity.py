"""``python dev.py parity``: our transformer against diffusers', the same random weights in both."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from devtools import parity_solvers
from devtools.reference import (
    FAMILIES,
    FULL,
    TINY,
    ReferenceFamily,
    Scale,
    diffusers_output,
    diffusers_transformer,
    our_transformer,
    relative_error,
)

_CLOSE = 1e-5
"""Most relative L2 distance in fp32."""
_CASES = (("alpha-256", 256), ("alpha-512", 512), ("sigma-512", 256), ("sigma-512", 512))
"""Family and side of the picture in pixels."""
_PROMPT_TOKENS = (24, 1)


@dataclass(frozen=True)
class Finding:
    """The relative L2 errors of one case; those in bf16 are from diffusers' fp32."""

    family: str
    side: int
    fp32: float
    ours_bf16: float
    theirs_bf16: float

    @property
    def is_good(self) -> bool:
        """Whether fp32 is the same and our bf16 no further away than theirs."""
        return self.fp32 <= _CLOSE and self.ours_bf16 <= self.theirs_bf16


def main(arguments: list[str]) -> int:
    """Compare, print the table, and return 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="dev.py parity", description=__doc__)
    parser.add_argument(
        "--solvers", action="store_true", help="our sampler in the host against the pipelines"
    )
    parser.add_argument(
        "--full", action="store_true", help="at the released size, 0.61 billion parameters"
    )
    chosen = parser.parse_args(arguments)
    if chosen.solvers:
        return parity_solvers.report()
    scale = FULL if chosen.full else TINY
    families = {family.name: family for family in FAMILIES}
    cases = tqdm(_CASES, desc="parity", leave=False)
    findings = [compare(families[name], side, scale) for name, side in cases]
    print(f"{'family':12} {'side':>5} {'fp32':>9} {'our bf16':>9} {'theirs':>9}")
    for finding in findings:
        print(
            f"{finding.family:12} {finding.side:5} {finding.fp32:9.1e} {finding.ours_bf16:9.2e} "
            f"{finding.theirs_bf16:9.2e}{'' if finding.is_good else '  MISSED'}"
        )
    print(f"at most {_CLOSE:.0e} in fp32; our bf16 no further from fp32 than diffusers'")
    return int(not all(finding.is_good for finding in findings))


@torch.no_grad()
def compare(family: ReferenceFamily, side: int, scale: Scale) -> Finding:
    """Run both transformers in fp32 and bf16 on one pair of prompts of different length."""
    theirs = diffusers_transformer(family, scale)
    ours = our_transformer(theirs, family)
    given = _inputs(side, scale)
    exact = diffusers_output(theirs, **given)
    fp32 = relative_error(ours(**given), exact)
    ours, theirs = ours.bfloat16(), theirs.bfloat16()
    rounded = {
        name: value.bfloat16() if name in ("x", "context") else value
        for name, value in given.items()
    }
    return Finding(
        family.name,
        side,
        fp32,
        relative_error(ours(**rounded), exact),
        relative_error(diffusers_output(theirs, **rounded), exact),
    )


def _inputs(side: int, scale: Scale) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    longest, batch = max(_PROMPT_TOKENS), len(_PROMPT_TOKENS)
    lengths = torch.tensor(_PROMPT_TOKENS)
    # Representable in bf16, so that what is measured is the arithmetic and not the input.
    return {
        "x": torch.randn(batch, 4, side // 8, side // 8, generator=generator).bfloat16().float(),
        "t": torch.full((batch,), 731.0),
        "context": torch.randn(batch, longest, scale.caption_channels, generator=generator)
        .bfloat16()
        .float(),
        "mask": (torch.arange(longest) < lengths[:, None]).long(),
        "size": torch.full((batch, 2), side),
    }
