"""The list of official files against a folder of models."""

from __future__ import annotations

from pathlib import Path

import pytest

from devtools import official
from devtools.templates import files


def test_it_tells_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hed, vae = files.HED, files.VAE_SIGMA
    for file, size in ((hed, hed.gigabytes * 1e9), (vae, 100)):
        path = tmp_path / file.folder / "mine" / file.name
        path.parent.mkdir(parents=True)
        with path.open("wb") as out:
            out.truncate(int(size))
    assert official.main(["--models", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    states = {line.split("/")[-1]: line.split()[0] for line in lines if " GB " in line}
    assert states.pop(hed.name) == "there"
    assert states.pop(vae.name) == "size?"
    assert set(states.values()) == {"missing"}
    for file in official.OFFICIAL:
        assert any(file.url in line for line in lines)


def test_without_a_folder_nothing_is_claimed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    assert official.main([]) == 0
    assert "missing" not in capsys.readouterr().out
