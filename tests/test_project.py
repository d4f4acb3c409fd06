"""The project as a whole: what a fresh clone finds, and what must never be in it."""

from __future__ import annotations

import configparser
import email
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]


def test_the_lock_is_hashed_and_names_no_host() -> None:
    lock = (PROJECT / "requirements.lock").read_text()
    pins = re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"^\s*#.*\n", "", lock, flags=re.M))
    assert len(pins) > 100
    assert all("==" in pin and "--hash=sha256:" in pin for pin in pins)
    assert "://" not in lock


def test_the_lock_holds_every_dependency() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    wanted = [*project["project"]["dependencies"], *groups["dev"], *groups["viz"], *groups["notebook"]]
    names = {re.match(r"[A-Za-z0-9_.-]+", entry)[0].lower().replace("_", "-") for entry in wanted}
    locked = set(re.findall(r"^([a-z0-9-]+)(?=[=\[])", (PROJECT / "requirements.lock").read_text(), flags=re.M))
    assert names <= locked


def test_every_bound_has_its_reason() -> None:
    text = (PROJECT / "pyproject.toml").read_text()
    bounds = [line for line in text.splitlines() if re.match(r'\s+"[\w\[\]-]+(\[\w+\])?[~>=<]=', line)]
    assert len(bounds) > 20
    assert not [line for line in bounds if "#" not in line]


def test_telemetry_is_off_in_a_fresh_clone() -> None:
    assert "consent: false" in (PROJECT / ".telemetry").read_text()
    ignored = subprocess.run(["git", "check-ignore", ".telemetry"], cwd=PROJECT, capture_output=True, check=False)
    assert ignored.returncode != 0


def test_every_make_target_says_what_it_is_for() -> None:
    shown = subprocess.run(["make", "-s"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^  make (\w+)  ", shown, flags=re.M) == [
        "help", "run", "test", "lint", "viz", "mlflow", "demo", "bench", "results", "torture", "notebook",
        "docs"]


@pytest.mark.parametrize("word", ["cuda()", "print("])
def test_library_neither_prints_nor_picks_a_device(word: str) -> None:
    code = {path: path.read_text() for path in (PROJECT / "src").rglob("*.py")}
    pattern = rf"(?<!\w){re.escape(word)}"
    found = [f"{path.name}: {line.strip()}" for path, text in code.items() for line in text.splitlines()
             if re.search(pattern, line) and "noqa: T201" not in line]
    assert not found


def test_listing_pipelines_imports_nothing_heavy() -> None:
    """``kedro registry list`` answers at once because torch, diffusers, MLflow and the like are imported in nodes."""
    code = """
import sys
from kedro.framework.project import configure_project, pipelines
configure_project("dg_project")
assert "drsf" in pipelines
heavy = {"torch", "torchvision", "timm", "diffusers", "transformers", "mlflow", "sklearn", "scipy", "matplotlib"}
print(*sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1:] in ([], [""])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """The wheel, built offline by the build backend, from a copy so that nothing of an older build goes in."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    shutil.copytree(PROJECT / "src" / "dg_project", source / "src" / "dg_project",
                    ignore=shutil.ignore_patterns("__pycache__"))
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(built)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, check=True)
    [path] = built.glob("*.whl")
    with zipfile.ZipFile(path) as opened:
        yield opened


def test_wheel_contains_every_file(wheel: zipfile.ZipFile) -> None:
    source = PROJECT / "src"
    wanted = {path.relative_to(source).as_posix() for path in (source / "dg_project").rglob("*")
              if path.is_file() and "__pycache__" not in path.parts}
    beside = {Path(name).name for name in wanted if not name.endswith(".py")}
    assert beside >= {"py.typed", "report.html.j2", "model_card.md.j2", "export.md.j2", "card.md.j2"}
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == wanted
    assert all(wheel.read(name) == (source / name).read_bytes() for name in wanted)


def test_wheel_metadata(wheel: zipfile.ZipFile) -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    about = {Path(name).name: name for name in wheel.namelist() if ".dist-info/" in name}
    scripts = configparser.ConfigParser()
    scripts.read_string(wheel.read(about["entry_points.txt"]).decode())
    assert dict(scripts["console_scripts"]) == {"dg_project": "dg_project.__main__:main"} == project["scripts"]
    metadata = email.message_from_bytes(wheel.read(about["METADATA"]))
    needed = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert len(needed) == len(project["dependencies"])
    assert set(metadata.get_all("Provides-Extra")) == project["optional-dependencies"].keys()
    assert "LICENSE" in about


def test_command_runs_from_the_wheel(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """Found by its entry point in the unpacked wheel, and run there, not in the checkout."""
    wheel.extractall(tmp_path)
    code = """
from importlib.metadata import distribution
[command] = distribution("dg_project").entry_points.select(group="console_scripts", name="dg_project")
main = command.load()
import dg_project
print(dg_project.__file__)
main()
"""
    done = subprocess.run([sys.executable, "-c", code, "--help"], cwd=tmp_path, capture_output=True, text=True,
                          check=True, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert done.stdout.startswith(str(tmp_path / "dg_project" / "__init__.py"))
    assert "--conf-source" in done.stdout


PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").rglob("*.md")),
         *sorted((PROJECT / "conf").glob("*/README.md"))]


@pytest.mark.parametrize("page", PAGES, ids=[path.relative_to(PROJECT).as_posix() for path in PAGES])
def test_pages_hold_no_half_made_merge(page: Path) -> None:
    assert not re.findall(r"^(?:<{7}|>{7}) .*", page.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=[path.relative_to(PROJECT).as_posix() for path in PAGES])
def test_links_of_the_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    local = {(page.parent / target).resolve() for target in targets if not re.match(r"https?://|mailto:", target)}
    missing = {path.relative_to(PROJECT).as_posix() for path in local if not path.exists()}
    assert not missing
