"""The shipped parameters, and the messages for wrong ones."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from run_settings import CONF, parameters

from dg_project.config import (
    DataParams,
    GridParams,
    Params,
    Settings,
    SynthesisParams,
    check_parameters,
    denoising_steps,
)
from dg_project.config.grids import check_domains
from dg_project.config.models import TASK_PARAMS
from dg_project.core.errors import ParameterError
from dg_project.data.readers import READERS
from dg_project.methods import method_classes

SCHEMAS = {name: method.Params for name, method in method_classes().items()}
READER_OPTIONS = {name: reader.Options for name, reader in READERS.items()}


def raw(env: str = "base") -> dict[str, Any]:
    return parameters(env)


def changed(path: str, value: Any) -> dict[str, Any]:
    tree = copy.deepcopy(raw())
    *groups, key = path.split(".")
    node = tree
    for group in groups:
        node = node[group]
    node[key] = value
    return tree


@pytest.mark.parametrize("env", [path.name for path in CONF.iterdir() if path.name != "local" and path.is_dir()])
def test_shipped_parameters_are_valid(env: str) -> None:
    check_parameters(raw(env), SCHEMAS, READER_OPTIONS)


def test_environment_removes_a_split() -> None:
    data = check_parameters(raw("diverse_weather"), SCHEMAS, READER_OPTIONS).data
    assert data.splits_of(data.source) == {"train": "train", "test": "test"}


def test_cdga_trains_on_all_that_it_makes() -> None:
    settings = check_parameters(raw("cdga"), SCHEMAS, READER_OPTIONS)
    assert (settings.method, settings.sampling.keep, settings.synthesis.n_images) == ("naive", "all", None)
    assert not settings.sampling.gate.enabled
    assert settings.sampling.gate.least_visibility("classification") == -1


@pytest.mark.parametrize("env", ["base", "cdga", "domainbed"])
def test_online_augmentation_denoises(env: str) -> None:
    settings = check_parameters(raw(env), SCHEMAS, READER_OPTIONS)
    strength = raw(env)["domainfusion"]["strength"]
    strengths = strength or [domain.strength for domain in settings.synthesis.domains.values()]
    assert denoising_steps(settings.ldm.steps, min(strengths)) >= 1


@pytest.mark.parametrize("group", ["backbone", "training", *TASK_PARAMS])
def test_conf_shows_every_parameter(group: str) -> None:
    assert set(raw()[group]) == set(type(getattr(Settings.model_validate(raw()), group)).model_fields)


def test_conf_shows_the_defaults_of_data() -> None:
    shown, fields = raw()["data"], DataParams.model_fields
    assert set(shown) == set(fields)
    for name, field in fields.items():
        assert field.is_required() or shown[name] == field.default, name


def test_every_reader_has_options_with_defaults() -> None:
    for name, options in READER_OPTIONS.items():
        assert options.model_validate({}) == options(), name


def test_conf_base_equals_the_class_defaults() -> None:
    """A default that is changed in only one of the two places fails here."""
    shipped = Settings.model_validate(raw())
    for name in set(Settings.model_fields) - {"ablation", "regime"}:  # plans that name what others define
        group = getattr(shipped, name)
        if isinstance(group, Params) and not any(f.is_required() for f in type(group).model_fields.values()):
            assert group == type(group)(), name
    for name, schema in SCHEMAS.items():
        assert schema.model_validate(raw().get(name, {})) == schema(), name


def test_conf_shows_every_method_parameter() -> None:
    owners = {schema: name for name, schema in SCHEMAS.items()}
    for name, schema in SCHEMAS.items():
        shown = set(raw().get(name, {}))
        if not shown:  # a combined method: what it combines is shown where it belongs
            shown = {key for base in schema.__mro__[1:] if base in owners for key in raw()[owners[base]]}
        assert shown == set(schema.model_fields), name


@pytest.mark.parametrize(("path", "value", "message"), [
    ("trainnig", {}, "unknown parameter 'trainnig'. Did you mean 'training'?"),
    ("training.max_step", 3, "training: unknown parameter 'max_step'. Did you mean 'max_steps'?"),
    ("training.max_steps", 0, "training.max_steps: Input should be greater than or equal to 1 (given: 0)"),
    ("synthesis.domains", {}, "synthesis.domains: Dictionary should have at least 1 item"),
    ("synthesis.domains.fog.strength", 1.5, "synthesis.domains.fog.strength: Input should be less than or equal to 1"),
    ("method", "drfs", "unknown method 'drfs'. Did you mean 'drsf'?"),
    ("benchmark.methods", ["erm", "drfs"], "unknown method 'drfs'. Did you mean 'drsf'?"),
    ("benchmark.methods", ["drsf"], "gains are taken against 'erm'"),
    ("ablation.rows.dfdr.params.drsf.stgae", 2,
     "ablation.rows.dfdr: params: drsf: unknown parameter 'stgae'. Did you mean 'stage'?"),
    ("ablation.rows.dfdr.params.training", {"lr": -1}, "ablation.rows.dfdr: params: training.lr: Input should be"),
    ("ablation.rows.dfdr.method", "drfs", "ablation.rows.dfdr: unknown method 'drfs'. Did you mean 'drsf'?"),
    ("ablation.rows.no_dfdr.params.backbon", {"name": "x"},
     "a row cannot change 'backbon', only what is trained on the same images. Did you mean 'backbone'?"),
    ("ablation.rows.no_dfdr.params.ldm", {"steps": 2}, "ablation.rows.no_dfdr: params: a row cannot change 'ldm'"),
    ("ablation.rows.no_dfdr.params.sampling", {"decomposition": "adain"}, "'decomposition' would choose other images"),
    ("ablation.rows.no_dfdr.params.closed_loop", {"rounds": 2}, "a row cannot change 'closed_loop'"),
    ("ablation.rows.k1.loop", "closed", "ablation.rows.k1: domains: the closed loop divides its images over all"),
    ("training.selection", "target_oracle", "target_oracle chooses by the scores of target images, which no training"),
    ("ablation.rows.naive", {"method": "naive"}, "'naive' is among the methods and among the rows"),
    ("ablation.rows.a/b", {"method": "naive"}, "'a/b' becomes a folder and a metric"),
    ("ablation.only", ["dfrd"], "only: there is no row 'dfrd'. Did you mean 'dfdr'?"),
    ("task", "detecting", "task: Input should be 'detection'"),
])
def test_wrong_parameter_message(path: str, value: Any, message: str) -> None:
    with pytest.raises(ParameterError) as error:
        check_parameters(changed(path, value), SCHEMAS)
    assert message in str(error.value)
    assert "nothing was run" in str(error.value)


def test_check_domains_of_rows() -> None:
    rows = check_parameters(changed("ablation.rows.k1.domains", ["nihgt"]), SCHEMAS).ablation.every_row
    with pytest.raises(ParameterError, match=r"ablation\.rows\.k1: domains: there is no pseudo domain 'nihgt'\. Did"):
        check_domains("ablation", rows, ["night", "fog", "dusk_rain"])
    check_domains("ablation", {"k1": rows["k1"]}, ["nihgt"])


def test_all_problems_in_one_error() -> None:
    tree = changed("seed", -1) | {"extra": 1}
    with pytest.raises(ParameterError) as error:
        check_parameters(tree, SCHEMAS)
    assert len(str(error.value).splitlines()) == 3


def test_lists_joined_by_plus() -> None:
    assert GridParams(seeds=3, methods="erm+drsf") == GridParams(seeds=[0, 1, 2], methods=["erm", "drsf"])


def test_null_removes_a_default_domain() -> None:
    raw = {"fog": {"prompt": "fog"}, "night": None}
    assert list(SynthesisParams(domains=raw).domains) == ["fog"]
