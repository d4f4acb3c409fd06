"""Threads of OpenMP yield to other processes, unless the user chose otherwise; a compiler is asked for in time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dg_project.core.device import check_compiler
from dg_project.core.errors import ParameterError

CODE = "import os, sys, dg_project; print('torch' in sys.modules, os.environ.get('GOMP_SPINCOUNT'))"


@pytest.mark.parametrize(("chosen", "spin"), [
    ({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None"),
])
def test_spin_of_openmp_is_short_unless_chosen(chosen: dict[str, str], spin: str) -> None:
    inherited = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True,
                          env={**inherited, **chosen})
    assert done.stdout.split() == ["False", spin], "set before torch loads OpenMP"


def test_compile_without_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ParameterError, match=r"there is no g\+\+ or clang\+\+ here: .* training.compile=false"):
        check_compiler(torch.device("cpu"))
    check_compiler(torch.device("cuda"))
    (tmp_path / "my_c++").touch(0o755)
    monkeypatch.setenv("CXX", "my_c++")
    check_compiler(torch.device("cpu"))
