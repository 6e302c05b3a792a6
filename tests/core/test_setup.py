"""The parts of `python dev.py` that make the environment, on small local archives."""

from __future__ import annotations

import ast
import io
import re
import socket
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

import dev
from devtools import archive, existing, installation
from devtools.commands import COMMANDS
from devtools.environment import ROOT
from devtools.failure import Failure
from devtools.installation import Installation
from devtools.pins import HostPin, Pins, read_pins
from devtools.server import free_port

INSIDE = "thing-1.0/vendor/ComfyUI"
BEFORE_THE_ENVIRONMENT = (
    "dev.py",
    *(
        f"devtools/{name}.py"
        for name in (
            *("archive", "commands", "environment", "existing", "failure"),
            *("installation", "launch", "lock", "pins", "process"),
        )
    ),
)


def make_archive(path: Path, files: dict[str, str]) -> str:
    """Write a tar archive of text files and return its digest."""
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return archive.sha256_of(path)


def make_host_archive(path: Path) -> str:
    """An archive that holds a host between other things."""
    inside = {"main.py": "host", "comfy/sd.py": "deep", "requirements.txt": ""}
    files = {f"{INSIDE}/{name}": text for name, text in inside.items()}
    return make_archive(path, {"thing-1.0/setup.py": "not the host", **files})


def make_installation(folder: Path) -> Installation:
    """An installation below ``folder`` whose host archive has been downloaded already."""
    cache = folder / "cache"
    cache.mkdir()
    digest = make_host_archive(cache / "thing-1.0.tar.gz")
    pin = HostPin("thing", "1.0", "thing-1.0.tar.gz", digest, INSIDE, "0")
    return Installation(folder / "venv", cache, cache / "host-0", Pins(pin, {}))


def with_packages(made: Installation, packages: dict[str, str]) -> Installation:
    """The same installation with other pinned packages."""
    return replace(made, pins=replace(made.pins, packages=packages))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """One installation for the tests that need a real environment, which takes seconds."""
    return make_installation(tmp_path_factory.mktemp("shared"))


def four_parts(failure: pytest.ExceptionInfo[Failure]) -> str:
    """The sentence of a failure, once it is seen to have its parts."""
    sentence = str(failure.value)
    assert re.fullmatch(r".+: found .+, expected .+; .+\.", sentence)
    return sentence


def test_pins_name_one_archive_and_exact_versions() -> None:
    pins = read_pins()
    assert re.fullmatch(r"[0-9a-f]{64}", pins.host.sha256)
    assert pins.host.version in pins.host.file
    for requirement in pins.requirements():
        assert re.fullmatch(r"[A-Za-z0-9-]+(\[[a-z,]+\])?==\d+(\.\d+)+", requirement)


def test_what_a_command_needs_is_pinned() -> None:
    pins = read_pins()
    for command in COMMANDS.values():
        assert set(command.needs.values()) <= set(pins.packages)


def test_an_archive_with_another_digest_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "host.tar.gz"
    found = make_host_archive(file)
    with pytest.raises(Failure) as failure:
        archive.unpack(file, INSIDE, tmp_path / "host", "0" * 64)
    assert found in four_parts(failure)
    assert str(file) in str(failure.value)
    assert not (tmp_path / "host").exists()


def test_only_the_host_is_unpacked(tmp_path: Path) -> None:
    file, target = tmp_path / "host.tar.gz", tmp_path / "host"
    digest = make_host_archive(file)
    archive.unpack(file, INSIDE, target, digest)
    assert archive.is_unpacked(target, digest)
    kept = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert {Path(name) for name in kept if not name.startswith(".")} == {
        Path("main.py"),
        Path("comfy/sd.py"),
        Path("requirements.txt"),
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["host", "host.tar.gz"]


def test_a_path_out_of_the_host_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "host.tar.gz"
    digest = make_archive(file, {f"{INSIDE}/main.py": "", f"{INSIDE}/../../../../out": "evil"})
    with pytest.raises(Failure) as failure:
        archive.unpack(file, INSIDE, tmp_path / "below" / "host", digest)
    four_parts(failure)
    assert not (tmp_path / "below" / "host").exists()
    assert not list(tmp_path.rglob("out"))


@pytest.mark.parametrize("files", [{"thing-1.0/other.py": ""}, {}])
def test_an_archive_without_the_host_is_refused(tmp_path: Path, files: dict[str, str]) -> None:
    file = tmp_path / "host.tar.gz"
    digest = make_archive(file, files)
    with pytest.raises(Failure) as failure:
        archive.unpack(file, INSIDE, tmp_path / "host", digest)
    four_parts(failure)


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "host.tar.gz"
    make_host_archive(file)
    file.write_bytes(file.read_bytes()[:150])
    with pytest.raises(Failure) as failure:
        archive.unpack(file, INSIDE, tmp_path / "host", archive.sha256_of(file))
    four_parts(failure)


def test_a_set_up_that_lost_a_step_does_that_step_again(
    shared: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    shared.finish()
    assert shared.finished()
    (shared.venv / ".pixart-stamp").unlink()  # as after a cut in the last step
    assert not shared.finished()
    capsys.readouterr()
    shared.finish()
    assert shared.finished()
    assert capsys.readouterr().out.startswith("[1/1] packages")


def test_other_pins_make_a_finished_set_up_unfinished(shared: Installation) -> None:
    shared.finish()
    assert not with_packages(shared, {"pip": "1.0"}).finished()


def test_a_package_that_cannot_be_had_is_one_sentence_with_the_log(shared: Installation) -> None:
    broken = with_packages(shared, {"./no-such-package": "1.0"})
    with pytest.raises(Failure) as failure:
        broken.finish()
    assert str(shared.log) in four_parts(failure)
    assert "no-such-package" in shared.log.read_text(encoding="utf-8")
    assert not broken.finished()


def test_an_environment_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    made = make_installation(tmp_path)
    theirs = made.venv / "lib" / "python3" / "site-packages" / "numpy-1.0.dist-info"
    theirs.mkdir(parents=True)
    with pytest.raises(Failure) as failure:
        made.finish()
    assert "numpy-1.0" in four_parts(failure)
    assert theirs.is_dir()


def test_records_of_half_installed_packages_are_dropped(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python3" / "site-packages"
    for name, files in {"whole": ("METADATA", "INSTALLER"), "half": ("METADATA",)}.items():
        info = packages / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        for file in files:
            (info / file).touch()
    installation._drop_half_installed(tmp_path)
    assert [path.name for path in packages.iterdir()] == ["whole-1.0.dist-info"]


@pytest.mark.parametrize("version", [(2, 7), (3, 10)])
def test_an_old_python_gets_one_sentence(version: tuple[int, int]) -> None:
    sentence = dev.old_python(*version)
    assert "found Python {}.{}".format(*version) in sentence
    assert "expected Python 3.11" in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("version", [(3, 11), (3, 14), (4, 0)])
def test_a_new_python_is_taken(version: tuple[int, int]) -> None:
    assert dev.old_python(*version) == ""


def test_dev_py_parses_under_an_old_grammar() -> None:
    source = (ROOT / "dev.py").read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 7))
    assert source.isascii()  # Python 2 reads nothing else without being told


@pytest.mark.parametrize("folder", ["", "nowhere"])
def test_a_comfyui_path_that_is_none_is_one_sentence(tmp_path: Path, folder: str) -> None:
    with pytest.raises(Failure) as failure:
        existing.find_install({"COMFYUI_PATH": str(tmp_path / folder)})
    assert "COMFYUI_PATH" in four_parts(failure)


def test_a_python_without_its_install_is_one_sentence() -> None:
    with pytest.raises(Failure) as failure:
        existing.find_install({"COMFYUI_PYTHON": sys.executable})
    assert "COMFYUI_PATH" in four_parts(failure)


def test_an_install_brings_its_own_python(tmp_path: Path) -> None:
    (tmp_path / "main.py").touch()
    variables = {"COMFYUI_PATH": str(tmp_path)}
    assert existing.find_install(variables) == (Path(sys.executable), tmp_path)
    own = existing.interpreter_in(tmp_path / "venv", sys.platform)
    own.parent.mkdir(parents=True)
    own.touch()
    assert existing.find_install(variables) == (own, tmp_path)
    assert existing.find_install({}) is None


def test_a_python_that_lacks_a_package_gets_the_pip_line() -> None:
    existing.require_modules(Path(sys.executable), {"json": "json"})
    with pytest.raises(Failure) as failure:
        existing.require_modules(Path(sys.executable), {"json": "j", "no_such": "no-such==1.0"})
    assert "-m pip install no-such==1.0." in four_parts(failure)


def test_a_wrong_command_ends_before_any_set_up() -> None:
    ran = subprocess.run(
        [sys.executable, str(ROOT / "dev.py"), "nope"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert "'nope'" in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_a_free_port_can_be_listened_on() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))
        listener.listen()


@pytest.mark.parametrize("name", BEFORE_THE_ENVIRONMENT)
def test_what_makes_the_environment_needs_none(name: str) -> None:
    allowed = {*sys.stdlib_module_names, "devtools"}
    for module in imported((ROOT / name).read_text(encoding="utf-8")):
        assert module.partition(".")[0] in allowed
        if module.startswith("devtools."):
            assert f"{module.replace('.', '/')}.py" in BEFORE_THE_ENVIRONMENT


def imported(source: str) -> set[str]:
    """Names of the modules that a source imports, those of devtools with their submodule."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "devtools":
            names.update(f"devtools.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names
