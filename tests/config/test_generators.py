"""What belongs to which generator of pseudo images, and the messages for what does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from run_settings import parameters

from dg_project.config import PseudoDomain, SynthesisParams, check_parameters
from dg_project.config.paths import ROOT_VARIABLE
from dg_project.core.errors import ParameterError
from dg_project.hooks.run_context import read_settings
from dg_project.methods import method_classes

SCHEMAS = {name: method.Params for name, method in method_classes().items()}


def raw(env: str = "base", **synthesis: Any) -> dict[str, Any]:
    tree = parameters(env)
    return tree | {"synthesis": {**tree["synthesis"], **synthesis}}


@pytest.mark.parametrize(("generator", "domain", "message"), [
    ("corruptions", {"corruptions": ["fog"]}, "synthesis.domains.a: corruptions need a severity from 0 to 1"),
    ("corruptions", {"corruptions": ["fgo"], "severity": 1}, "synthesis.domains.a.corruptions.0: Input should be 'bri"),
    ("corruptions", {"corruptions": [], "severity": 1}, "synthesis.domains.a.corruptions: List should have at least 1"),
    ("corruptions", {"corruptions": ["fog"], "severity": 2}, "synthesis.domains.a: severity [2.0, 2.0]: give a number"),
    ("corruptions", {"corruptions": ["fog"], "severity": [0.5, 0.2]}, "severity [0.5, 0.2]: give a number from 0 to 1"),
    ("corruptions", {"corruptions": ["fog"], "severity": 1, "strength": 0.5},
     "synthesis.domains.a: strength is not used by the generator corruptions, only by ldm and fourier: remove it"),
    ("corruptions", {"corruptions": ["fog"], "severity": 1, "prompt": "fog"},
     "synthesis.domains.a: give either a prompt or a vocabulary (generator: ldm), or corruptions (generator: corrupti"),
    ("corruptions", {"prompt": "fog"},
     "synthesis: generator is corruptions, which needs corruptions in every domain, and these are for ldm: a; change"),
    ("corruptions", {}, "synthesis.domains.a: give either a prompt or a vocabulary"),
    ("fourier", {"style": "x", "severity": 0.5}, "severity is not used by the generator fourier, only by corruptions"),
    ("fourier", {"style": "x", "band": 2}, "synthesis.domains.a.band: Input should be less than or equal to 1"),
    ("fourier", {"vocabulary": {}}, "generator is fourier, which needs style in every domain, and these are for ldm"),
    ("ldm", {"prompt": "x", "band": 0.5}, "band is not used by the generator ldm, only by fourier"),
    ("ldm", {"style": "x"}, "generator is ldm, which needs prompt or vocabulary in every domain, and these are fo"),
    ("fog", {"prompt": "x"},
     "synthesis.generator: Input should be 'ldm', 'corruptions', 'fourier' or 'folder' (given: 'fog')"),
])
def test_wrong_domain_message(generator: str, domain: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError) as error:
        check_parameters(raw(generator=generator, domains={"a": domain}), SCHEMAS)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 2, "one problem, one line"


def test_other_generator_names_all_default_domains() -> None:
    with pytest.raises(ParameterError, match="these are for ldm: fog, dusk_rain, night, night_rain; c") as error:
        check_parameters(raw(generator="corruptions"), SCHEMAS)
    assert len(str(error.value).splitlines()) == 2


def test_default_domain_becomes_a_corruption() -> None:
    """Kedro merges an environment with conf/base, so the default strength stays; it is of no use, but harmless."""
    fog = PseudoDomain.model_validate({"prompt": None, "strength": 1.0, "corruptions": "fog+jpeg", "severity": 0.5})
    assert (fog.corruptions, fog.severity, fog.generator) == (["fog", "jpeg"], (0.5, 0.5), "corruptions")
    assert PseudoDomain.model_validate(fog.model_dump(mode="json")) == fog


def test_prompted_domains_are_those_of_the_diffusion_model() -> None:
    settings = check_parameters(raw("retina"), SCHEMAS)
    assert settings.synthesis.generator == "corruptions"
    assert settings.synthesis.prompted == {}
    base = check_parameters(raw(), SCHEMAS).synthesis
    assert base.prompted == base.domains


def test_diffusion_steps_do_not_matter_to_other_generators() -> None:
    tree = raw(generator="fourier", domains={"art": {"style": "art", "strength": 0.1}})
    tree["ldm"] = {**tree["ldm"], "steps": 1, "mode": "inversion"}
    assert check_parameters(tree, SCHEMAS).synthesis.domains["art"].strength == 0.1


def test_style_folder_is_located(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    domains = {"art": {"style": "styles/art"}, "far": {"style": "/abs/far"}}
    located: SynthesisParams = read_settings(raw(generator="fourier", domains=domains)).synthesis
    assert [domain.style for domain in located.domains.values()] == [str(tmp_path / "styles/art"), "/abs/far"]
