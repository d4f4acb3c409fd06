"""Threads of OpenMP yield to other processes, unless the user chose otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = "import os, sys, dg_project; print('torch' in sys.modules, os.environ.get('GOMP_SPINCOUNT'))"


@pytest.mark.parametrize(("chosen", "spin"), [
    ({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None"),
])
def test_spin_of_openmp_is_short_unless_chosen(chosen: dict[str, str], spin: str) -> None:
    inherited = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True,
                          env={**inherited, **chosen})
    assert done.stdout.split() == ["False", spin], "set before torch loads OpenMP"
