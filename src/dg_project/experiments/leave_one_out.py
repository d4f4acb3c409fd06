"""Leave-one-domain-out as in DomainBed.

Train on all domains but one, validate on a held-out share of the same domains, score the domain that was left out;
every domain in turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from dg_project.config import DataParams, LeaveOneOutParams, Settings
from dg_project.core.errors import DataError, ParameterError
from dg_project.data.manifest import NOTES, noted, select
from dg_project.data.readers import count_domain, read_domain
from dg_project.data.readers.folders import ALL, folders_in, in_share
from dg_project.evaluation.records import AND, UNSEEN_MEAN
from dg_project.experiments import scoring
from dg_project.experiments.fold_generation import evenly, every_generation, fold_generation, generates
from dg_project.experiments.origin import check_cell
from dg_project.experiments.training_data import TrainingData
from dg_project.experiments.training_run import TrainingRun
from dg_project.methods import method_class, method_classes

READER = "image_folder"
LEAST_SOURCES = 2


@dataclass(frozen=True)
class Fold:
    """One domain left out.

    Attributes:
        held_out: name of the domain that is left out.
        source: the other domains, ``train`` and ``val``.
        scored: images to score: the source's validation images (as ``test``) and the whole held-out domain.
    """

    held_out: str
    source: pd.DataFrame
    scored: pd.DataFrame


def read_folders(root: Path, params: LeaveOneOutParams,
                 settings: Settings) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Read image folders ``<domain>/<class>/<image>``; return the manifest, the class names and the skipped images.

    Raises:
        DataError: there is no such folder, a broken image, or fewer than three domains.
    """
    domains, classes = layout(root, params, settings.data.ignore_classes)
    parts = [read_folder(root, name, classes, settings.data) for name in domains]
    images = pd.concat([rows for rows, _ in parts], ignore_index=True)
    images.attrs = {note: noted([rows for rows, _ in parts], note) for note in NOTES}
    return images, classes, [reason for _, skipped in parts for reason in skipped]


def read_folder(root: Path, domain: str, classes: list[str], data: DataParams,
                first: int | None = None) -> tuple[pd.DataFrame, list[str]]:
    """Read one domain, or its ``first`` images; return the manifest and the skipped images.

    Raises:
        DataError: there is no such folder, a class that is not in ``classes``, or a broken image.
    """
    images, skipped = read_domain(role="source", limits=None if first is None else {ALL: first}, in_order=True,
                                  **_reading(root, domain, classes, data))
    # Domains may have files of the same name, and pseudo images refer to images by id.
    return images.assign(image_id=images["domain"] + "/" + images["image_id"]), skipped


def count_folder(root: Path, domain: str, classes: list[str], data: DataParams) -> int:
    """Return how many images a domain has; errors are those of ``read_folder``, and no image is opened."""
    return count_domain(**_reading(root, domain, classes, data))[ALL]


def _reading(root: Path, domain: str, classes: list[str], data: DataParams) -> dict[str, Any]:
    return {"reader": READER, "root": root, "domain": domain, "splits": {ALL: ALL}, "classes": classes,
            "on_bad_sample": data.on_bad_sample, "rename": data.rename, "ignore_classes": data.ignore_classes,
            "other_classes": data.other_classes}


def layout(root: Path, params: LeaveOneOutParams, ignored: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """Return the domains and classes below a root, without ignored classes: those of the parameters, or all folders.

    Raises:
        DataError: the root is missing, or there are fewer than three domains.
    """
    if not root.is_dir():
        raise DataError(f"the data root '{root}' is missing; set data.root to a folder <domain>/<class>/<image>")
    domains = params.domains or [folder.name for folder in folders_in(root)]
    if len(domains) <= LEAST_SOURCES:
        raise DataError(f"leave-one-domain-out needs {LEAST_SOURCES} source domains or more next to the one that is "
                        f"left out, but '{root}' has {len(domains)} domain(s) ({', '.join(domains) or 'none'}): give a "
                        "root with at least three (data.root, leave_one_out.domains), or train on one source with "
                        "`kedro run --pipeline=erm`")
    if wrong := [name for name in domains if AND in name]:
        raise DataError(f"the domain '{wrong[0]}' has a {AND} in its name, which separates source domains in "
                        "results; rename its folder")
    folders = [folder for name in domains if (root / name).is_dir() for folder in folders_in(root / name)]
    classes = params.classes or sorted({folder.name for folder in folders})
    return domains, [name for name in classes if name not in ignored]


def chosen_methods(params: LeaveOneOutParams, method: str) -> list[str]:
    """Return the methods of the table, ERM first.

    Raises:
        ParameterError: a method is unknown, adapts to a target, or does not classify.
    """
    known = {name: kind for name, kind in method_classes().items()
             if not kind.needs.unlabelled_targets and "classification" in kind.tasks}
    names = list(dict.fromkeys(["erm", *(params.methods or [method])]))
    if wrong := [name for name in names if name not in known]:
        raise ParameterError(f"leave_one_out: the method '{wrong[0]}' does not classify images of several sources "
                             f"without target images; choose among {', '.join(known)}, as in --params method=scmd or "
                             "leave_one_out.methods=erm+scmd")
    return names


def folds(images: pd.DataFrame, share: float, seed: int) -> Iterator[Fold]:
    """Yield one fold per domain; the seed decides each domain's split, which is the same in all folds.

    Args:
        images: manifest of all domains.
        share: share of a source domain that trains; the rest validates.
        seed: random seed of this trial.
    """
    first = round(100 * share)
    parts = []
    for _, rows in images.groupby("domain", sort=False):
        chosen = in_share([str(name) for name in rows["image_id"]], 0, first, seed)
        parts.append(rows.assign(split=["train" if keep else "val" for keep in chosen]))
    split = pd.concat(parts, ignore_index=True)
    for held_out in dict.fromkeys(images["domain"]):
        source = split[split["domain"] != held_out].reset_index(drop=True)
        target = images[images["domain"] == held_out].assign(split="test", role="target")
        scored = [select(source, split="val").assign(split="test"), target]
        yield Fold(held_out, source, pd.concat(scored, ignore_index=True))


def fold_settings(settings: Settings, fold: Fold, classes: Sequence[str], seed: int) -> Settings:
    """Return the settings of one fold: sources, classes, seed, and equally many images of each source per step."""
    sources = list(dict.fromkeys(fold.source["domain"]))
    data = settings.data.model_copy(update={"source": AND.join(sources), "classes": list(classes)})
    per_step = settings.leave_one_out.images_per_domain * len(sources)
    training = settings.training.model_copy(update={"images_per_step": per_step})
    return settings.model_copy(update={"task": "classification", "data": data, "training": training, "seed": seed})


def planned_settings(method: str, settings: Settings) -> Iterator[Settings]:
    """Yield the settings to check a method with before a run: of every fold if it generates, else of all of them.

    Raises:
        DataError: see ``layout``.
        CheckpointError: see ``fold_generation.fold_ldm``.
    """
    settings = settings.model_copy(update={"task": "classification"})
    if not generates(method, settings):
        yield settings
        return
    domains, _ = layout(Path(settings.data.root), settings.leave_one_out)
    yield from every_generation(settings, domains)


def train_fold(method: str, settings: Settings, fold: Fold, root: Path, workspace: Path,
               pseudo: tuple[pd.DataFrame, Path] | None = None, wait: bool = True) -> Path:
    """Train one method on the sources of a fold, unless it is cached; return the model's folder.

    Args:
        method: method name.
        settings: settings of the cell.
        fold: the fold.
        root: folder that its paths are relative to.
        workspace: folder of cached work.
        pseudo: pseudo images made from the fold's sources, and the folder that their paths are relative to.
        wait: see ``TrainingRun.train``.
    """
    data = TrainingData(fold.source, root, *(pseudo or (None, None)))
    return TrainingRun.resolve(method, settings, data, workspace).train(wait).folder


def for_method(method: str, settings: Settings, fold: Fold, seed: int) -> tuple[Settings, Fold]:
    """Return settings and fold of a cell: a method that generates gets the fold's diffusion model and pseudo domains.

    If it trains on generated images, the source images are put into an even order, because the first ones are used.

    Args:
        method: method name.
        settings: result of ``fold_settings``.
        fold: the fold.
        seed: seed of the order; that of the run, so that the folds of all trials generate from the same images.

    Raises:
        CheckpointError: see ``fold_generation.fold_ldm``.
    """
    if not generates(method, settings):
        return settings, fold
    sources = list(dict.fromkeys(fold.source["domain"]))
    settings = fold_generation(settings, fold.held_out, sources)
    if method_class(method).needs.on(settings.training.batches).pseudo == "none":
        return settings, fold
    return settings, replace(fold, source=evenly(fold.source, seed))


def score_fold(model: Path, method: str, settings: Settings, fold: Fold, root: Path, workspace: Path,
               run_id: str, wait: bool = True) -> pd.DataFrame:
    """Return the records of one trained model: its sources' validation images, and the held-out domain.

    ``wait`` is that of ``scoring.score_once``.
    """
    check_cell(model, method, settings)
    records = scoring.records(model, scoring.score_once(model, fold.scored, root, settings, workspace, wait), run_id)
    return records[records["domain"] != UNSEEN_MEAN]


def with_means(records: pd.DataFrame) -> pd.DataFrame:
    """Return the records of the held-out domains, and per method, seed and metric their mean as ``unseen_mean``."""
    unseen = records[records["role"] == "target"]
    means = []
    for _, rows in unseen.groupby(["method", "seed", "metric"], sort=False):
        mean = rows.iloc[-1].to_dict() | {"source": "all but one", "domain": UNSEEN_MEAN, "classes_scored": "",
                                          "value": rows["value"].mean(skipna=False), "n_images": rows["n_images"].sum()}
        means.append(mean | {name: rows[name].mean() for name in ("seconds_per_step", "peak_memory_mb")})
    return pd.concat([unseen, pd.DataFrame(means)], ignore_index=True)
