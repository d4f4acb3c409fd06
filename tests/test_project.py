"""The project as a whole: what a fresh clone finds, and what must never be in it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
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
        "help", "run", "test", "lint", "viz", "mlflow", "bench", "results", "notebook", "docs"]


@pytest.mark.parametrize("word", ["cuda()", "print("])
def test_the_library_neither_prints_nor_chooses_a_device(word: str) -> None:
    code = {path: path.read_text() for path in (PROJECT / "src").rglob("*.py")}
    pattern = rf"(?<!\w){re.escape(word)}"
    found = [f"{path.name}: {line.strip()}" for path, text in code.items() for line in text.splitlines()
             if re.search(pattern, line) and "noqa: T201" not in line]
    assert not found


def test_listing_pipelines_imports_nothing_heavy() -> None:
    """``kedro registry list`` answers at once because torch, diffusers, MLflow and pandas are left to nodes."""
    code = """
import sys
from kedro.framework.project import configure_project, pipelines
configure_project("dg_project")
assert "drsf" in pipelines
print(*sorted({"torch", "diffusers", "mlflow", "pandas", "numpy", "matplotlib", "transformers"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1:] in ([], [""])


def test_every_file_beside_the_code_goes_into_the_wheel() -> None:
    package = PROJECT / "src" / "dg_project"
    setuptools = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packed = {path for pattern in setuptools["package-data"]["dg_project"] for path in package.glob(pattern)}
    beside = {path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert {path.name for path in beside} >= {"py.typed", "report.html.j2", "card.md.j2"}
    assert beside <= packed


PAGES = [PROJECT / "README.md", *(PROJECT / "docs").glob("*.md"), *(PROJECT / "conf").glob("*/README.md")]


@pytest.mark.parametrize("page", PAGES, ids=[path.relative_to(PROJECT).as_posix() for path in PAGES])
def test_pages_hold_no_half_made_merge(page: Path) -> None:
    assert not re.findall(r"^(?:<{7}|>{7}) .*", page.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=[path.relative_to(PROJECT).as_posix() for path in PAGES])
def test_links_of_the_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    local = {(page.parent / target).resolve() for target in targets if not re.match(r"https?://|mailto:", target)}
    missing = {path.relative_to(PROJECT).as_posix() for path in local if not path.exists()}
    assert not missing
