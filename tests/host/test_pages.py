"""The page of host nodes says what the tests show, no more and no less."""

from __future__ import annotations

from devtools.client import HostClient
from devtools.compatibility import CANNOT, HOST_NODES, compatibility_page
from devtools.pages import COMPATIBILITY

LATER = {"SelectModelDevice", "SelectCLIPDevice", "ModelMergeWAN2_1"}
"""What the oldest supported ComfyUI does not have."""


def test_the_page_is_made_from_the_tests() -> None:
    assert COMPATIBILITY.read_text(encoding="utf-8") == compatibility_page()


def test_the_page_names_nodes_that_the_host_has(client: HostClient) -> None:
    info = client.object_info()
    named = {name for names in HOST_NODES.values() for name in names}
    assert named - info.keys() <= LATER
    assert {
        "HyperTile",
        "TomePatchModel",
        "PerturbedAttentionGuidance",
    } <= info.keys() & CANNOT.keys()
