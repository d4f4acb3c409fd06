"""The code key covers a module and its imports, and nothing else."""

from __future__ import annotations

import importlib
import multiprocessing
import shutil
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import forked
import pytest

from dg_project.core import cache, code_key
from dg_project.core.code_key import ROOT, closure, every_module

TRAINING = "dg_project.experiments.training_run"
MEMBERS = closure(TRAINING, "dg_project.methods.drsf.method")


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package whose files a test may edit."""
    root = tmp_path_factory.mktemp("source")
    shutil.copytree(ROOT / "dg_project", root / "dg_project", ignore=shutil.ignore_patterns("__pycache__", "*.j2"))
    return root


def file_of(root: Path, module: str) -> Path:
    path = root.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def key(root: Path) -> str:
    return code_key.code_key(TRAINING, "dg_project.methods.drsf.method", root=root)


@pytest.mark.parametrize("module", MEMBERS)
def test_code_key_covers_every_training_module(copied: Path, module: str) -> None:
    path = file_of(copied, module)
    text, before = path.read_text(), key(copied)
    try:
        path.write_text(f"{text}\nADDED = 1\n")
        assert key(copied) != before
        path.write_text(f'{text}\n# a comment\n"""A string that stands alone."""\n')
        assert key(copied) == before
    finally:
        path.write_text(text)
    assert key(copied) == before


def test_code_key_ignores_modules_outside(copied: Path) -> None:
    outside = sorted(set(every_module()) - set(MEMBERS))
    assert len(outside) > 50
    before, texts = key(copied), {module: file_of(copied, module).read_text() for module in outside}
    for module, text in texts.items():
        file_of(copied, module).write_text(f"{text}\nADDED = 1\n")
    assert key(copied) == before
    for module, text in texts.items():
        file_of(copied, module).write_text(text)


def send_imports(channel: Connection) -> None:
    """Send the names of all loaded modules after each of two imports; the first is that of a training."""
    forked.forget("dg_project", "diffusers", "transformers")
    importlib.import_module(TRAINING)
    channel.send(set(sys.modules))
    importlib.import_module("dg_project.methods").method_classes()
    channel.send(set(sys.modules))


@pytest.fixture(scope="module")
def imported() -> list[set[str]]:
    """Names of the modules that a Python without the project loads for a training, and then for all methods."""
    here, there = multiprocessing.Pipe(duplex=False)
    child = forked.start(send_imports, there)
    there.close()
    names = [here.recv() for _ in range(2)]
    child.join()
    return names


def test_closure_covers_all_python_imports(imported: list[set[str]]) -> None:
    """All modules that Python loads for a training are in the closure."""
    loaded = {name for name in imported[0] if name.split(".")[0] == "dg_project"}
    assert TRAINING in loaded
    assert loaded <= set(closure(TRAINING))


def test_list_of_methods_loads_no_diffusion_library(imported: list[set[str]]) -> None:
    assert "dg_project.methods.domainfusion.method" in imported[1]
    assert not {"diffusers", "transformers"} & imported[1]


def test_code_key_unknown_module() -> None:
    with pytest.raises(ModuleNotFoundError, match="there is no module"):
        code_key.code_key("dg_project.no_such")


def test_cache_folder_logs_changed_code(tmp_path: Path, caplog: pytest.LogCaptureFixture,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    first = cache.cache_folder(tmp_path, "training", {"lr": 0.1}, code=["dg_project.core.errors"])
    assert not caplog.records
    hashes = code_key.module_hashes("dg_project.core.errors")
    monkeypatch.setattr(cache, "module_hashes", lambda *_: {**hashes, "dg_project.core.errors": "changed"})
    caplog.set_level("INFO")
    second = cache.cache_folder(tmp_path, "training", {"lr": 0.1}, code=["dg_project.core.errors"])
    assert second != first
    assert f"training {first.name} has the same inputs but is not used again" in caplog.text
    assert "dg_project.core.errors" in caplog.text
    assert cache.cache_folder(tmp_path, "training", {"lr": 0.2}, code=["dg_project.core.errors"]) not in (first, second)
