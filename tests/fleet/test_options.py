"""The command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixart_fleet.cluster import Share
from pixart_fleet.options import KEY_VARIABLE, RunOptions, ServeOptions, parse

RUN = ["run", "--workflow", "w.json", "--prompts", "p.csv", "--out", "o", "--comfyui", "c"]
SERVE = ["serve", "--workflow", "w.json", "--comfyui", "c"]


def test_a_run_has_quiet_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    options = parse(RUN)
    assert isinstance(options, RunOptions)
    assert (options.workers, options.batch, options.resume, options.shared) == (1, 1, False, False)
    assert (options.ray_address, options.share) == (None, Share(1.0, 0.0))
    assert options.out == tmp_path / "o"
    assert options.facts.models == tmp_path / "c" / "models"
    assert options.facts.on_cpu
    assert (options.facts.pack / "pixart_fleet").is_dir()


def test_a_share_of_a_card_takes_the_host_off_the_processor() -> None:
    options = parse([*RUN, "--gpus-per-worker", "0.5", "--host-option=--lowvram"])
    assert not options.facts.on_cpu
    assert options.facts.arguments == ("--lowvram",)


def test_a_service_listens_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    options = parse([*SERVE, "--workers", "2", "--most-workers", "1"])
    assert isinstance(options, ServeOptions)
    assert (options.host, options.key) == ("127.0.0.1", "secret")
    assert (options.least_workers, options.most_workers) == (2, 2)


@pytest.mark.parametrize(
    "wrong",
    [
        ["--workers", "0"],
        ["--batch", "65"],
        ["--batch", "two"],
        ["--gpus-per-worker", "-1"],
        ["--job-timeout", "nan"],
    ],
)
def test_numbers_have_bounds(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse([*RUN, *wrong])
    assert f"argument {wrong[0]}: invalid" in capsys.readouterr().err


def test_comfyui_is_asked_for_where_it_is_not_known(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    monkeypatch.setattr("pixart_fleet.options.PACK", tmp_path)
    with pytest.raises(SystemExit):
        parse(RUN[:-2])
    assert "--comfyui" in capsys.readouterr().err
    made = tmp_path / ".cache" / "host-1.0"
    made.mkdir(parents=True)
    (made / "main.py").touch()
    assert parse(RUN[:-2]).facts.comfyui == made
    monkeypatch.setenv("COMFYUI_PATH", "/opt/ComfyUI")
    assert parse(RUN[:-2]).facts.comfyui == Path("/opt/ComfyUI")
