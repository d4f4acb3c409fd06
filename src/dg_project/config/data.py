"""Parameters of the data: domains and their layout on disk."""

from __future__ import annotations

from typing import Any, Literal, Self
from unicodedata import normalize

from pydantic import Field, field_validator, model_validator

from dg_project.config.base import Names, Params, ProjectPath, without_removed
from dg_project.core.errors import nearest


class DomainParams(Params):
    """Settings of one domain that differ from ``data``."""

    reader: str | None = Field(None, description="name of the reader; None: data.reader")
    folder: str | None = Field(None, description="folder below data.root; None: name of the domain")
    options: dict[str, Any] | None = Field(
        None, description="reader options; None: data.options if the reader is the same")


class DataParams(Params):
    """Domains and their layout on disk."""

    reader: str = Field("voc", description="name of the reader in dg_project.data.readers")
    root: ProjectPath = Field(description="folder with one folder per domain")
    source: str = Field(description="the labelled domain used for training")
    targets: Names = Field(min_length=1, description="unseen domains, used only in evaluation")
    classes: Names = Field(min_length=1, description="class names; their order gives the labels 1..C")
    splits: dict[str, str] = Field({"train": "train", "val": "val", "test": "test"},
                                   description="our split name -> the data set's, or a share of it: train[:90%]; null "
                                               "removes one")
    target_split: str | None = Field(None, description="the data set's split for scoring targets; None: same as test")
    adapt_split: str | None = Field(None, description="split of the targets whose images (never labels) UDA "
                                                       "methods may use; None: no such images")
    split_seed: int = Field(0, description="random seed of the shares of splits")
    options: dict[str, Any] = Field({}, description="options of the reader, see docs/add_a_dataset.md")
    domains: dict[str, DomainParams] = Field({}, description="domains with another reader, folder or other options")
    rename: dict[str, str] = Field({}, description="class name in the data set -> name in classes or ignore_classes")
    ignore_classes: list[str] = Field([], description="classes, named as after rename, whose boxes are neither object "
                                                      "nor background")
    other_classes: Literal["stop", "ignore"] = Field("stop", description="stop at boxes of other classes, or skip them")
    expected_counts: dict[str, int] = Field({}, description="domain/split -> required number of images")
    max_train: int | None = Field(None, ge=1, description="use only n training images, spread over folders")
    on_bad_sample: Literal["stop", "skip"] = Field("stop", description="stop at a broken image or label, or skip it")

    @field_validator("classes")
    @classmethod
    def _composed(cls, classes: list[str]) -> list[str]:
        """Names are compared with those of data sets in Unicode's composed form."""
        return [normalize("NFC", name) for name in classes]

    _removed = field_validator("splits", mode="before")(without_removed)

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        """Find misspelt names, which would have no effect."""
        domains = [self.source, *self.targets]
        if self.source in self.targets:
            raise ValueError(f"targets: '{self.source}' is the source, and a model is not scored as unseen there; take "
                             "it out of data.targets")
        lists = [f"{self.source}/{split}" for split in self.splits]
        lists += [f"{target}/{split}" for target in self.targets for split in ("test", "adapt")]
        wrong = [(f"domains: '{name}' is neither source nor target.", name, domains) for name in self.domains]
        wrong += [(f"expected_counts: '{name}' is not a domain/split.", name, lists) for name in self.expected_counts]
        wrong += [(f"rename: '{name}' is not in classes.", name, [*self.classes, *self.ignore_classes])
                  for name in self.rename.values()]
        if found := next(((text, name, known) for text, name, known in wrong if name not in known), None):
            raise ValueError(found[0] + nearest(found[1], found[2]))
        self._check_ignored()
        if self.target_split is None and "test" not in self.splits:
            raise ValueError("splits: 'test' is missing, and target_split does not set a split for scoring targets")
        if self.adapt_split is not None and self.adapt_split == (self.target_split or self.splits["test"]):
            raise ValueError(f"adapt_split: targets are scored on '{self.adapt_split}', so no method may adapt to it; "
                             "name another split, or a share of it as in 'train[:50%]'")
        return self

    def _check_ignored(self) -> None:
        for name in self.ignore_classes:
            if name in self.classes:
                raise ValueError(f"ignore_classes: '{name}' is also in classes; remove it from one of them")
            if self.rename.get(name, name) != name:
                raise ValueError(f"ignore_classes: rename makes '{name}' a '{self.rename[name]}'; give the name that "
                                 "it has after rename")

    def splits_of(self, domain: str) -> dict[str, str]:
        """Return the splits that may be opened: all splits of the source, only the test split of a target."""
        return self.splits if domain == self.source else {"test": self.target_split or self.splits["test"]}

    def layout(self, domain: str) -> tuple[str, str, dict[str, Any]]:
        """Return the reader of a domain, its folder below the root, and the reader's options."""
        own = self.domains.get(domain, DomainParams())
        reader = own.reader or self.reader
        inherited = self.options if reader == self.reader else {}
        return reader, own.folder or domain, inherited if own.options is None else own.options
