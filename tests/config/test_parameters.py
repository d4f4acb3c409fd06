import copy

import pytest
from pydantic import Field

from dg_project.config import DataParams, Params, Settings, check_parameters
from dg_project.core.errors import ParameterError


class ERMParams(Params):
    """No parameter."""


class DRSFParams(Params):
    """Two real parameters."""

    lambda_align: float = Field(0.1, ge=0)
    stage: int = Field(3, ge=1, le=5)


METHODS = {"erm": ERMParams, "drsf": DRSFParams, **dict.fromkeys(["naive", "mixstyle", "mic", "drsf_uda"], ERMParams)}
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


def test_defaults():
    params = check_parameters(RAW, METHODS)
    assert isinstance(params, Settings)
    assert params.method == "drsf"
    assert params.seed == 0
    assert params.synthesis.domains["night"].strength == 1.0
    assert params.sampling.gate.enabled
    assert params.training.selection == "source_val"


def test_parameters_are_frozen():
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
    ("data.domains", {"nigth_clear": {}}, r"'nigth_clear' is neither source nor .* mean 'night_clear'\?"),
    ("data.domains", {"night_clear": {"raeder": "coco"}}, r"data\.domains\.night_clear: unknown parameter 'raeder'"),
    ("data.expected_counts", {"night_clear/train": 3}, r"'night_clear/train' is not a domain/split\..*_clear/test'\?"),
    ("data.rename", {"motor": "cra"}, r"rename: 'cra' is not in classes\. Did you mean 'car'\?"),
    ("data.splits", {"train": "train"}, r"splits: 'test' is missing"),
    ("data.adapt_split", "test", r"adapt_split: targets are scored on 'test', so no method may adapt to it"),
    ("uda.baseline", "mci", r"unknown method 'mci'"),
    ("data.other_classes", "skip", r"data\.other_classes: .*'stop' or 'ignore'"),
    ("synthesis.domains", {"night": {"prompt": ""}}, r"synthesis\.domains\.night\.prompt: "),
    ("synthesis.domains", {"night": {"prompt": "x", "strenght": 1}},
     r"synthesis\.domains\.night: unknown parameter 'strenght'\. Did you mean 'strength'\?"),
    ("sampling.gate.drop_below", -1, r"sampling\.gate\.drop_below: "),
    ("drsf.lamda_align", 1, r"drsf: unknown parameter 'lamda_align'\. Did you mean 'lambda_align'\?"),
    ("drsf.stage", 9, r"drsf\.stage: .*\(given: 9\)"),
    ("method", "drfs", r"unknown method 'drfs'\. Did you mean 'drsf'\?"),
    ("benchmark.methods", ["erm", "naif"], r"unknown method 'naif'"),
    ("seed", -1, r"seed: "),
    ("ldm.mode", "inpant", r"ldm\.mode: .*'inpaint' or 'inversion' \(given: 'inpant'\)"),
    ("ldm.memory", {"offlaod": "model"}, r"ldm\.memory: unknown parameter 'offlaod'\. Did you mean 'offload'\?"),
    ("ldm.negative_prompt", "blur", r"ldm: negative_prompt has no effect without guidance"),
    ("ldm.image_guidance_scale", 0.5, r"ldm\.image_guidance_scale: .*greater than or equal to 1"),
    ("ldm.loras", [{"weight": "x"}], r"ldm\.loras\.0: unknown parameter 'weight'\. Did you mean 'weights'\?"),
    ("synthesis.shard", "5/4", r"synthesis\.shard: '5/4' is not a part: the parts of 4 are '1/4' to '4/4'"),
    ("synthesis", {"domains": {"night": {"prompt": "x"}}, "min_boxes": 3, "max_boxes": 2}, "max_boxes 2 is below min"),
    ("synthesis.shard", "quarter", r"synthesis\.shard: .*pattern"),
    ("synthesis.domains", {"night": {"strength": 1}}, r"synthesis\.domains\.night: give either a prompt or a vocab"),
    ("synthesis.domains", {"night": {"prompt": "x", "vocabulary": {}}}, r"night: give either a prompt or a vocabulary"),
    ("synthesis.domains", {"night": {"prompt": "x", "strength": 0.1}},
     r"synthesis\.domains\.night\.strength 0\.1 with ldm\.steps 6 runs no denoising step: raise ldm\.steps to 10"),
    ("backbone.frozen_stages", "al", r"backbone\.frozen_stages.*'all' \(given: 'al'\)"),
    ("backbone.weights", "hf-hub:timm/x", r"backbone\.weights: give 'hf-hub:timm/x' as backbone\.name"),
])
def test_wrong_value_message(path, value, message):
    with pytest.raises(ParameterError, match=message):
        check_parameters(changed(path, value), METHODS)


@pytest.mark.parametrize(("group", "key"), [("data", "source"), ("ldm", "checkpoint"), ("synthesis", "domains")])
def test_missing_value_message(group, key):
    raw = copy.deepcopy(RAW)
    del raw[group][key]
    with pytest.raises(ParameterError, match=rf"{group}\.{key}: Field required"):
        check_parameters(raw, METHODS)


@pytest.mark.parametrize(("ldm", "others", "message"), [
    ({"mode": "img2img", "controlnet": {"checkpoint": "c"}}, {}, "controlnet.checkpoint is not used in mode 'img2img'"),
    ({"mode": "inversion", "scheduler": "LCMScheduler"}, {}, "inverts DDIM, not LCMScheduler: leave scheduler out"),
    ({"mode": "inversion"}, {}, "the 2 candidates of 'night' would be copies"),
    ({"memory": {"offload": "model"}}, {"training": {"device": "cpu"}}, "but training.device is cpu"),
])
def test_contradictory_parameters(ldm, others, message):
    raw = changed("ldm", {"checkpoint": "x", **ldm}) | others
    with pytest.raises(ParameterError, match=message):
        check_parameters(raw, METHODS)


@pytest.mark.parametrize(("synthesis", "inversion"), [
    ({"candidates": 1, "domains": {"night": {"prompt": "night"}}}, {}),
    ({"domains": {"night": {"prompt": "night"}}}, {"eta": 0.3}),
    ({"domains": {"night": {"prompt": "{night|dusk}"}, "any": {"vocabulary": {}}}}, {}),
])
def test_inversion_with_different_candidates(synthesis, inversion):
    raw = {**RAW, "synthesis": synthesis, "ldm": {"checkpoint": "x", "mode": "inversion", "inversion": inversion}}
    assert check_parameters(raw, METHODS).ldm.mode == "inversion"


def test_all_problems_in_one_message():
    raw = changed("training.max_steps", 0)
    raw["drsf"] = {"stage": 0}
    raw["speed"] = 1
    with pytest.raises(ParameterError) as caught:
        check_parameters(raw, METHODS)
    lines = str(caught.value).splitlines()
    assert lines[0] == "wrong parameters, nothing was run:"
    assert len(lines) == 4


def test_method_parameters():
    assert check_parameters({**RAW, "mixstyle": {}}, METHODS).method == "drsf"
    without = {name: schema for name, schema in METHODS.items() if name != "mixstyle"}
    with pytest.raises(ParameterError, match="unknown parameter 'mixstyle'"):
        check_parameters({**RAW, "mixstyle": {}, "benchmark": {"methods": ["erm"]}}, without)


class FogOptions(Params):
    """One option."""

    beta: float = Field(0.02, gt=0)


READERS = {"voc": ERMParams, "cityscapes": FogOptions}


@pytest.mark.parametrize(("changes", "message"), [
    ({"data.reader": "vok"}, r"data\.reader: unknown reader 'vok'\. Did you mean 'voc'\?"),
    ({"data.options": {"beta": 0.02}}, r"data\.options \(reader voc\): unknown parameter 'beta'"),
    ({"data.reader": "cityscapes", "data.options": {"bata": 1}},
     r"data\.options \(reader cityscapes\): unknown parameter 'bata'\. Did you mean 'beta'\?"),
    ({"data.domains": {"night_clear": {"reader": "cityscapes", "options": {"beta": -1}}}},
     r"data\.domains\.night_clear\.options \(reader cityscapes\)\.beta: .*greater than 0 \(given: -1\)"),
    ({"data.domains": {"night_clear": {"reader": "cityscape"}}},
     r"data\.domains\.night_clear\.reader: unknown reader 'cityscape'\. Did you mean 'cityscapes'\?"),
])
def test_reader_options_checked(changes, message):
    raw = RAW
    for path, value in changes.items():
        raw = {**raw, "data": {**raw["data"], path.removeprefix("data."): value}}
    check_parameters(RAW, METHODS, READERS)
    with pytest.raises(ParameterError, match=message) as error:
        check_parameters(raw, METHODS, READERS)
    assert len(str(error.value).splitlines()) == 2  # reported once, not once per domain


def test_domain_own_reader():
    data = DataParams(root="r", source="a", targets=["b", "c", "d"], classes=["car"], reader="cityscapes",
                      options={"beta": 0.01}, domains={"b": {"reader": "voc"}, "c": {"folder": "x"},
                                                       "d": {"options": {"beta": 0.02}}})
    assert data.layout("a") == ("cityscapes", "a", {"beta": 0.01})
    assert data.layout("b") == ("voc", "b", {})  # the options of another reader are not its own
    assert data.layout("c") == ("cityscapes", "x", {"beta": 0.01})
    assert data.layout("d") == ("cityscapes", "d", {"beta": 0.02})


def test_target_split_replaces_test():
    data = {"root": "r", "source": "a", "targets": ["b"], "classes": ["car"], "splits": {"train": "train"}}
    assert DataParams(**data, target_split="val").target_split == "val"


@pytest.mark.parametrize(("path", "value", "message"), [
    ("data.targets", ["night_clear", "daytime_clear"], "data: targets: 'daytime_clear' is the source"),
    ("data.targets", ["night_clear", "night_clear"], r"data\.targets: 'night_clear' is named twice"),
    ("data.classes", ["car", "bus", "car"], r"data\.classes: 'car' is named twice"),
    ("segmentation.classes", ["road", "road"], r"segmentation\.classes: 'road' is named twice"),
    ("benchmark.seeds", [0, 1, 0], r"benchmark\.seeds: '0' is named twice"),
    ("benchmark.methods", ["erm", "drsf", "erm"], r"benchmark\.methods: 'erm' is named twice"),
    ("leave_one_out.domains", "photo+photo+sketch", r"leave_one_out\.domains: 'photo' is named twice"),
    ("export.format", ["onnx", "onnx"], r"export\.format: 'onnx' is named twice"),
])
def test_names_that_repeat(path, value, message):
    with pytest.raises(ParameterError, match=message):
        check_parameters(changed(path, value), METHODS)
