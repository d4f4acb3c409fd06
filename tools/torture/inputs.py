"""Break one valid input at random: files of every reader, a model, a diffusion checkpoint, the parameters.

A broken input must be told: by one line of a ``DGError``, or by a warning on the data card. Reading it to the same
manifest as the valid one is fine too (some files are not needed). Anything else is a fault.
"""

from __future__ import annotations

import io
import json
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ldm_fixture import build_instruct
from models_fixture import save_tiny
from PIL import Image
from run_settings import settings
from test_every_reader import CASES, Case

from dg_project.config import LDMParams
from dg_project.core.errors import DGError
from dg_project.data.manifest import manifest_fingerprint
from dg_project.data.readers import read_domain
from dg_project.hooks.run_context import parse_parameters
from dg_project.methods.model_folder import load_model

PICTURES = (".jpg", ".png")
TEXTS = (".xml", ".json", ".txt", ".yaml", ".csv")
NUMBERS = ("nan", "inf", "-7", "1e99", "x", "99999")
OPTIONAL = {"iscrowd", "segmentation", "width", "height", "area", "difficult", "attributes", "crowd", "deleted", "size",
            "counts", "filename", "path", "timeofday", "weather", "occluded", "truncated"}
"""Keys that a file may lack."""
UNLISTED = {"yolo": {"delete .txt", "resized .jpg"}, "image_folder": {"delete .jpg", "resized .jpg"}}
"""What makes another valid data set where no list, size or pixel of a box says that something is missing."""
LONGEST = 3000
"""Characters of a message that still can be read."""


class Kit:
    """Valid inputs, built once below a folder; every trial breaks a copy.

    Attributes:
        broke: what the present trial broke.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.broke = folder, ""
        self._known: dict[str, str] = {}

    def valid(self, name: str, build: Callable[[Path], object]) -> Path:
        """Return the folder of a valid input, built at first use."""
        target = self.folder / name
        if not target.is_dir():
            building = self.folder / f".{name}"
            shutil.rmtree(building, ignore_errors=True)
            building.mkdir(parents=True)
            build(building)
            building.rename(target)
        return target

    def copy(self, name: str, build: Callable[[Path], object]) -> Path:
        """Return a fresh copy of it."""
        target = self.folder / ".broken"
        shutil.rmtree(target, ignore_errors=True)
        return shutil.copytree(self.valid(name, build), target, symlinks=True)

    def known(self, name: str, root: Path) -> str:
        """Return what reading a valid input gives."""
        if name not in self._known:
            self._known[name] = _read(CASES[name], name, root)[0]
        return self._known[name]


def trial(kit: Kit, number: int, seed: int) -> tuple[str, str, str]:
    """Break one input; return what was broken, the verdict (refused, warned, same or a fault) and the message."""
    rng = random.Random(f"{seed}/{number}")
    kinds = [*CASES, "model", "ldm", "parameters"]
    kind, kit.broke = kinds[number % len(kinds)], ""
    ways = {"parameters": _parameters, "model": _model, "ldm": _ldm}
    try:
        verdict, told = ways[kind](kit, rng) if kind in ways else _reader(kit, kind, rng), ""
    except DGError as error:
        told = str(error)
        clear = len(told) < LONGEST and all(line.isprintable() for line in told.split("\n  "))
        verdict = "refused" if clear else "FAULT: message"
    except Exception as error:
        verdict, told = f"FAULT: {type(error).__name__}", str(error)
    return f"{kind}: {kit.broke}", verdict, told


def _reader(kit: Kit, name: str, rng: random.Random) -> str:
    case = CASES[name]
    root, expected = kit.copy(name, case.build), kit.known(name, kit.valid(name, case.build))
    _break(kit, root, rng, UNLISTED.get(name, set()))
    return _judge(case, name, root, expected)


def _judge(case: Case, name: str, root: Path, expected: str) -> str:
    found, noted = _read(case, name, root)
    if found == expected:
        return "same"
    return "warned" if noted else "FAULT: read as other data"


def _read(case: Case, name: str, root: Path) -> tuple[str, list[str]]:
    rows, _ = read_domain(name, root, case.folder, "source", case.splits, case.classes, options=case.options,
                          other_classes="ignore")
    return manifest_fingerprint(rows), [*rows.attrs["warnings"], *rows.attrs["left_aside"]]


def _break(kit: Kit, root: Path, rng: random.Random, never: set[str]) -> None:
    """Break one file below a folder."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    path = rng.choice(files)
    ways = [cut, empty, delete, loop, dangling, garbage]
    ways += [resized, colours, bomb] if path.suffix in PICTURES else []
    ways += [number, renamed, deep] if path.suffix in TEXTS else []
    while True:
        way = rng.choice(ways)
        kit.broke = f"{way.__name__} {path.relative_to(root)}"
        if f"{way.__name__} {path.suffix}" not in never and way(path, rng):
            return


def cut(path: Path, rng: random.Random) -> bool:
    """Keep the first part of a file."""
    content = path.read_bytes()
    path.write_bytes(content[:int(len(content) * rng.uniform(0.05, 0.9))])
    return True


def empty(path: Path, rng: random.Random) -> bool:
    """Remove the content; an empty text file of YOLO is an image without objects."""
    if path.suffix == ".txt":
        return False
    path.write_bytes(b"")
    return True


def delete(path: Path, rng: random.Random) -> bool:
    """Remove the file."""
    path.unlink()
    return True


def loop(path: Path, rng: random.Random) -> bool:
    """Put a link to itself in its place."""
    path.unlink()
    path.symlink_to(path)
    return True


def dangling(path: Path, rng: random.Random) -> bool:
    """Put a link out of the root in its place."""
    path.unlink()
    path.symlink_to("/nowhere/at\x1b[2Jall")
    return True


def garbage(path: Path, rng: random.Random) -> bool:
    """Put random bytes in its place."""
    path.write_bytes(rng.randbytes(200))
    return True


def resized(path: Path, rng: random.Random) -> bool:
    """Store it smaller, as a data set that was resized without its labels."""
    with Image.open(path) as image:
        small = image.resize((image.width // 2, image.height // 2), Image.Resampling.NEAREST)
    small.save(path)
    return True


def colours(path: Path, rng: random.Random) -> bool:
    """Store a mask in random colours."""
    with Image.open(path) as image:
        size, mode = image.size, image.mode
    if mode == "RGB":
        return False
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)).save(path)
    return True


def bomb(path: Path, rng: random.Random) -> bool:
    """State an absurd size in the header of a PNG."""
    stream = io.BytesIO()
    Image.new("RGB", (2, 2)).save(stream, "PNG")
    content = bytearray(stream.getvalue())
    content[16:24] = b"\x00\x03\x00\x00" * 2
    path.write_bytes(content)
    return True


def number(path: Path, rng: random.Random) -> bool:
    """Replace a number by none that can be right."""
    text = path.read_text()
    found = list(re.finditer(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.])", text))
    if not found:
        return False
    one = rng.choice(found)
    path.write_text(text[:one.start()] + rng.choice(NUMBERS) + text[one.end():])
    return True


def renamed(path: Path, rng: random.Random) -> bool:
    """Rename a key or tag that is read."""
    text = path.read_text()
    found = {next(filter(None, one)) for one in re.findall(r'"(\w+)": |<(\w+)>|^(\w+):', text, re.MULTILINE)}
    if not (needed := sorted(found - OPTIONAL)):
        return False
    key = rng.choice(needed)
    path.write_text(re.sub(rf"\b{key}\b", f"{key}_", text))
    return True


def deep(path: Path, rng: random.Random) -> bool:
    """Put a deeply nested text in its place."""
    path.write_text("[" * 50_000)
    return True


def _model(kit: Kit, rng: random.Random) -> str:
    folder = kit.copy("model", lambda target: save_tiny(target, "detection"))
    path = rng.choice([folder / "model.json", folder / "model.safetensors"])
    ways = [cut, empty, delete, loop, dangling, garbage, *([deep, leaf] if path.suffix == ".json" else [])]
    way = rng.choice(ways)
    kit.broke = f"{way.__name__} {path.name}"
    way(path, rng)
    load_model(folder)
    return "FAULT: opened"


def leaf(path: Path, rng: random.Random) -> bool:
    """Replace a value of a model's specification by one of another type."""
    card = json.loads(path.read_text())
    key = rng.choice(["method", "task", "backbone", "head", "classes", "domains"])
    card["spec"][key] = rng.choice([None, 7, "nothing of this name", [], {"x": 1}])
    path.write_text(json.dumps(card))
    return True


def _ldm(kit: Kit, rng: random.Random) -> str:
    from dg_project.diffusion.generator import Generator

    folder = kit.copy("ldm", build_instruct)
    path = rng.choice(sorted(path for path in folder.rglob("*") if path.suffix in (".safetensors", ".json")))
    way = rng.choice([cut, empty, delete, loop, garbage])
    kit.broke = f"{way.__name__} {path.relative_to(folder)}"
    way(path, rng)
    Generator.from_params(LDMParams(checkpoint=str(folder)), torch.device("cpu"))
    return "same"  # a file that it does not need


def _parameters(kit: Kit, rng: random.Random) -> str:
    raw: dict[str, Any] = settings().model_dump(mode="json")
    node, path = raw, [rng.choice(sorted(raw))]
    while isinstance(node[path[-1]], dict) and node[path[-1]] and rng.random() > 0.1:
        node = node[path[-1]]
        path.append(rng.choice(sorted(node)))
    free = {"domains", "rows", "rename", "options"} & set(path)  # keys of these are names
    kit.broke = ".".join(map(str, path))
    if rng.random() < 0.5 and not free:
        node[f"{path[-1]}x"] = node.pop(path[-1])
    else:
        node[path[-1]] = 7 if isinstance(node[path[-1]], dict) else {"nothing": "here"}
    parse_parameters(raw)
    return "FAULT: accepted"
