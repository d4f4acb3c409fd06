"""Check that a diffusers folder is complete: libraries fill in random weights and empty vocabularies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from dg_project.core.errors import CheckpointError, ParameterError
from dg_project.core.weight_headers import Shapes, compare_shapes, read_shapes
from dg_project.diffusion.checkpoint import REMEDY, UNUSED, read_json

STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
"""Names of weight files of diffusers and transformers."""
TOLD_APART = ("a foggy street", "a street at night")
"""Prompts that no tokenizer may encode alike."""
_OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_LOCAL: Any = {"local_files_only": True, "trust_remote_code": False}
"""Options of transformers: nothing is downloaded, and no code of a checkpoint is run or asked for."""


def check_complete(folder: Path, variant: str | None, pipeline: str) -> None:
    """Check weights and tokenizers of every part of a diffusers folder, from JSON files and headers.

    Args:
        folder: the checkpoint.
        variant: ``ldm.variant``.
        pipeline: class that will open it.

    Raises:
        CheckpointError: a part has no weights (of this variant), weights are missing or of another network, or a
            tokenizer has another vocabulary than its text encoder.
    """
    index = read_json(folder / "model_index.json", folder)
    for part, kind in index.items():
        if not isinstance(kind, list) or not kind[-1] or part in UNUSED:
            continue
        try:
            if part.startswith("tokenizer"):
                _check_tokenizer(folder, part)
            elif (folder / part / "config.json").is_file():
                _check_weights(folder, part, kind, variant)
        except CheckpointError as error:
            raise CheckpointError(f"'{folder}' cannot be opened as a {pipeline}: {error}") from error


def check_prompts(folder: Path, prompts: Mapping[str, str]) -> None:
    """Check that the prompts of two pseudo domains are still different after tokenization.

    Args:
        folder: the checkpoint.
        prompts: pseudo domain -> prompt.

    Raises:
        ParameterError: two different prompts have the same tokens, such as prompts that differ in their last words
            only, beyond the length of the text encoder.
    """
    tokenizer = _tokenizer(folder, "tokenizer")
    tokens = {name: _encode(tokenizer, text) for name, text in prompts.items()}
    for first, second in combinations(prompts, 2):
        if prompts[first] != prompts[second] and tokens[first] == tokens[second]:
            raise ParameterError(f"synthesis.domains: the prompts of '{first}' and '{second}' are the same "
                                 f"{len(tokens[first])} tokens for '{folder}', so their images would be equal; words "
                                 "beyond the length of the text encoder are cut off: shorten the prompts")


def _check_weights(folder: Path, part: str, kind: list[str], variant: str | None) -> None:
    files = sorted(path.name for path in (folder / part).iterdir())
    names = [f"{stem}{tail}" for tail in ([f".{variant}", ""] if variant else [""]) for stem in STEMS]
    file = next((f"{name}{end}" for name in names for end in (".safetensors", ".safetensors.index.json")
                 if f"{name}{end}" in files), None)
    if file is not None:
        expected = _expected(kind[0], kind[-1], folder / part, str(read_json(folder / part / "config.json", folder)))
        if expected is not None:
            compare_shapes(read_shapes(folder / part / file), expected, f"{part}/{file}", _modern)
    elif not any(f"{name}.bin" in files or f"{name}.bin.index.json" in files for name in names):
        others = sorted({match[1] for name in files if (match := re.match(r"[a-z_]+\.(\w+)\.(safetensors|bin)", name))})
        remedy = f"they are stored as the variant {', '.join(others)}: set ldm.variant={others[0]}" if others else \
            f"copy the complete checkpoint. {REMEDY}"
        wanted = f"of the variant {variant}" if variant else "without a variant"
        raise CheckpointError(f"{part}/ has no weights {wanted}; {remedy}")


@lru_cache(maxsize=16)
def _expected(library: str, name: str, folder: Path, _: str) -> Shapes | None:
    """Return the weights of a part's network, which is built without memory; None for a class that is not known."""
    kind: Any = getattr({"diffusers": diffusers, "transformers": transformers}.get(library), name, None)
    try:
        with torch.device("meta"):
            if library == "diffusers":
                network = kind.from_config(kind.load_config(folder, local_files_only=True))
            else:
                network = kind(transformers.AutoConfig.from_pretrained(folder, **_LOCAL))
        return {key: tuple(weight.shape) for key, weight in network.named_parameters()}
    except Exception:  # opening it says why
        return None


def _modern(key: str) -> str:
    """Return the present name of a weight: attention of old VAEs, and CLIP's text models."""
    parts = key.removeprefix("text_model.").split(".")
    return ".".join(_OLD_NAMES.get(part, part) if "attentions" in parts else part for part in parts)


def _check_tokenizer(folder: Path, part: str) -> None:
    encoder = part.replace("tokenizer", "text_encoder")
    config = read_json(folder / encoder / "config.json", folder)
    known, tokenizer = int(config.get("vocab_size", 0)), _tokenizer(folder, part)
    if len(tokenizer) != known or _encode(tokenizer, TOLD_APART[0]) == _encode(tokenizer, TOLD_APART[1]):
        files = ", ".join(sorted(path.name for path in (folder / part).iterdir()))
        raise CheckpointError(f"{part}/ has a vocabulary of {len(tokenizer)}, {encoder}/ "
                              f"one of {known}, so prompts would not be read; tokenizer.json, or vocab.json and "
                              f"merges.txt, is missing or another one (there is {files}): copy the whole checkpoint")


def _tokenizer(folder: Path, part: str) -> Any:
    try:
        return transformers.AutoTokenizer.from_pretrained(folder / part, **_LOCAL)
    except Exception as error:
        raise CheckpointError(f"{part}/ holds no tokenizer ({error}). {REMEDY}") from error


def _encode(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, truncation=True).input_ids)
