"""Fixtures for every test: a generated data set, its manifests, and a genuine but random diffusion pipeline."""

from __future__ import annotations

import gc
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser_fixture import browser  # noqa: F401
from clip_fixture import clip  # noqa: F401
from ldm_fixture import (  # noqa: F401
    tiny_controlnet,
    tiny_img2img,
    tiny_inpaint,
    tiny_ldm,
    tiny_sdxl,
    tiny_sdxl_controlnet,
    tiny_sdxl_instruct,
    tiny_v_prediction,
)
from streets_fixture import CLASSES, SOURCE, TARGETS, build_tiny_pseudo, build_tiny_streets

if TYPE_CHECKING:  # the process that shares the tests out imports this file as well
    import pandas as pd

gc.set_threshold(50_000, 50, 50)  # else every import of diffusers and MLflow looks for garbage in the modules of torch

LONGEST = ("test_contract.py", "test_smoke.py", "test_notebooks.py", "test_export.py", "test_grids.py",
           "test_classification.py", "test_dask_runner.py", "test_deployment.py", "test_domainfusion.py")


SHARING = {f"tests/pipelines/test_{name}.py" for name in ("smoke", "grids", "domainfusion", "resume", "synthesis")}
"""The files whose tests start from the fixture ``drsf_run``: one process makes it for all of them."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With ``--dist loadfile``, give a process whole files, and all files that share a run to the same process."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "drsf_run" if file in SHARING else file

    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the longest files first, so that no process waits for another's last file."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all processes of this test run; who makes a file in it holds a lock."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@dataclass(frozen=True)
class Tiny:
    """A data set that is drawn and read once; tests get copies."""

    streets: Path
    manifest: pd.DataFrame
    adapt: pd.DataFrame
    pseudo: Path
    pseudo_manifest: pd.DataFrame


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Five domains with their manifests, and two pseudo domains, ``night`` and ``fog``; read-only."""
    import pandas as pd

    from dg_project.data.readers import read_domain

    root, pseudo = tmp_path_factory.mktemp("tiny") / "streets", tmp_path_factory.mktemp("tiny") / "pseudo"
    build_tiny_streets(root)
    splits = {"train": "train", "val": "val", "test": "test"}
    parts = [read_domain("voc", root, SOURCE, "source", splits, CLASSES)[0]]
    parts += [read_domain("voc", root, name, "target", {"test": "test"}, CLASSES)[0] for name in TARGETS]
    adapt = [read_domain("voc", root, name, "adapt", {"adapt": "adapt"}, CLASSES)[0] for name in TARGETS]
    manifest = pd.concat(parts, ignore_index=True)
    source = manifest[manifest["split"] == "train"].to_dict("records")
    rows = build_tiny_pseudo(pseudo, root, source, {"night": "night_clear", "fog": "daytime_foggy"})
    return Tiny(root, manifest, pd.concat(adapt, ignore_index=True), pseudo, pd.DataFrame(rows))


@pytest.fixture
def tiny_streets(tmp_path: Path, tiny: Tiny) -> Path:
    """Root of a fresh five-domain VOC data set that the test may damage."""
    return shutil.copytree(tiny.streets, tmp_path / "streets")


@pytest.fixture
def tiny_classes() -> list[str]:
    """Class names of ``tiny_streets``; their order gives the labels 1..7."""
    return list(CLASSES)


@pytest.fixture
def tiny_manifest(tiny: Tiny, tiny_streets: Path) -> pd.DataFrame:
    """Manifest of ``tiny_streets`` (its root): train, val and test of the source, test of the four targets."""
    return tiny.manifest.copy()


@pytest.fixture
def tiny_adapt(tiny: Tiny, tiny_streets: Path) -> pd.DataFrame:
    """Manifest of the unlabelled images of the four targets."""
    return tiny.adapt.copy()


@pytest.fixture
def tiny_pseudo(tmp_path: Path, tiny: Tiny, tiny_streets: Path) -> tuple[Path, pd.DataFrame]:
    """Root and sampled manifest of two pseudo domains, ``night`` and ``fog``, of the eight source training images."""
    return shutil.copytree(tiny.pseudo, tmp_path / "pseudo"), tiny.pseudo_manifest.copy()
