import copy

import pytest
from pydantic import Field

from dg_project.errors import ParameterError
from dg_project.parameters import Parameters, Params, check_parameters


class ERMParams(Params):
    """No parameter."""


class DRSFParams(Params):
    """Two of the real ones."""

    lambda_align: float = Field(0.1, ge=0)
    stage: int = Field(3, ge=1, le=5)


METHODS = {"erm": ERMParams, "drsf": DRSFParams, "naive": ERMParams, "mixstyle": ERMParams}
RAW = {
    "method": "drsf",
    "data": {"root": "data/01_raw/streets", "source": "daytime_clear", "targets": ["night_clear"], "classes": ["car"]},
    "ldm": {"checkpoint": "data/06_models/tiny_ldm"},
    "synthesis": {"domains": {"night": {"prompt": "a street at night"}}},
    "drsf": {"lambda_align": 0.2},
}


def changed(path, value):
    """RAW with the value at ``a.b.c`` replaced."""
    raw = copy.deepcopy(RAW)
    *parents, last = path.split(".")
    group = raw
    for name in parents:
        group = group.setdefault(name, {})
    group[last] = value
    return raw


def test_the_shortest_file_is_filled_with_defaults():
    params = check_parameters(RAW, METHODS)
    assert isinstance(params, Parameters)
    assert params.method == "drsf"
    assert params.seed == 0
    assert params.synthesis.domains["night"].strength == 1.0
    assert params.sampling.gate.enabled
    assert params.training.selection == "source_val"


def test_parameters_cannot_be_changed_after_the_check():
    params = check_parameters(RAW, METHODS)
    with pytest.raises(ValueError, match="frozen"):
        params.training.lr = 1.0


@pytest.mark.parametrize(("path", "value", "message"), [
    ("trainig", {}, r"unknown parameter 'trainig'\. Did you mean 'training'\?"),
    ("training.max_step", 3, r"training: unknown parameter 'max_step'\. Did you mean 'max_steps'\?"),
    ("training.max_steps", 0, r"training\.max_steps: .*greater than or equal to 1 \(given: 0\)"),
    ("training.max_steps", "many", r"training\.max_steps: .*\(given: 'many'\)"),
    ("training.optimizer", "adm", r"training\.optimizer: .*'sgd' or 'adamw'.*\(given: 'adm'\)"),
    ("training.flip", 1.5, r"training\.flip: .*less than or equal to 1"),
    ("data.targets", [], r"data\.targets: .*at least 1 item"),
    ("data.clases", ["car"], r"data: unknown parameter 'clases'\. Did you mean 'classes'\?"),
    ("synthesis.domains", {"night": {"prompt": ""}}, r"synthesis\.domains\.night\.prompt: "),
    ("synthesis.domains", {"night": {"prompt": "x", "strenght": 1}},
     r"synthesis\.domains\.night: unknown parameter 'strenght'\. Did you mean 'strength'\?"),
    ("sampling.gate.drop_below", -1, r"sampling\.gate\.drop_below: "),
    ("drsf.lamda_align", 1, r"drsf: unknown parameter 'lamda_align'\. Did you mean 'lambda_align'\?"),
    ("drsf.stage", 9, r"drsf\.stage: .*\(given: 9\)"),
    ("method", "drfs", r"unknown method 'drfs'\. Did you mean 'drsf'\?"),
    ("benchmark.methods", ["erm", "naif"], r"unknown method 'naif'"),
    ("seed", -1, r"seed: "),
    ("backbone.frozen_stages", "al", r"backbone\.frozen_stages.*'all' \(given: 'al'\)"),
    ("backbone.weights", "hf-hub:timm/x", r"backbone\.weights: give 'hf-hub:timm/x' as backbone\.name"),
])
def test_a_wrong_value_is_named_with_its_path_and_remedy(path, value, message):
    with pytest.raises(ParameterError, match=message):
        check_parameters(changed(path, value), METHODS)


@pytest.mark.parametrize(("group", "key"), [("data", "source"), ("ldm", "checkpoint"), ("synthesis", "domains")])
def test_a_missing_value_is_named(group, key):
    raw = copy.deepcopy(RAW)
    del raw[group][key]
    with pytest.raises(ParameterError, match=rf"{group}\.{key}: Field required"):
        check_parameters(raw, METHODS)


def test_all_problems_come_in_one_message():
    raw = changed("training.max_steps", 0)
    raw["drsf"] = {"stage": 0}
    raw["speed"] = 1
    with pytest.raises(ParameterError) as caught:
        check_parameters(raw, METHODS)
    lines = str(caught.value).splitlines()
    assert lines[0] == "wrong parameters, nothing was run:"
    assert len(lines) == 4


def test_parameters_of_methods_need_no_place_in_the_core():
    assert check_parameters({**RAW, "mixstyle": {}}, METHODS).method == "drsf"
    without = {name: schema for name, schema in METHODS.items() if name != "mixstyle"}
    with pytest.raises(ParameterError, match="unknown parameter 'mixstyle'"):
        check_parameters({**RAW, "mixstyle": {}, "benchmark": {"methods": ["erm"]}}, without)
