"""What a round asks for: the budget, where the images go, and which words are put together."""

from __future__ import annotations

from dg_project.config import ClosedLoopParams, PseudoDomain, SynthesisParams
from dg_project.diffusion.prompts import choices
from dg_project.experiments.closed_loop.planning import COMPOSED, budget, plan_round

DOMAINS = {
    "fog": PseudoDomain(prompt="a city street in dense fog", strength=0.8),
    "night": PseudoDomain(prompt="a city street at night", strength=0.8),
    "rain": PseudoDomain(prompt="a city street in the rain at dusk", strength=0.8),
}
PARAMS = ClosedLoopParams(rounds=3, temperature=0.1, floor=0.3, compositions=0.2, strength_step=0.1)


def test_budget_equals_the_open_loop() -> None:
    synthesis = SynthesisParams(domains=DOMAINS, candidates=2)
    rounds = budget(scenes=80, probes=36, synthesis=synthesis, params=PARAMS)
    assert rounds == [74, 74, 74]
    assert sum(rounds) * 2 + 36 == 80 * 3 * 2


def test_plan_favours_the_hardest_domain() -> None:
    first = plan_round(1, 60, 80, DOMAINS, None, PARAMS, seed=0)
    assert first.images == {"fog": 20, "night": 20, "rain": 20}
    second = plan_round(2, 60, 80, DOMAINS, {"fog": 0.5, "night": 0.9, "rain": 0.5}, PARAMS, seed=0)
    assert sum(second.images.values()) == 60
    assert second.images[COMPOSED] == 12
    assert second.images["night"] > 2 * second.images["fog"] > 0
    assert {name: domain.strength for name, domain in second.domains.items()} == {
        "fog": 0.8, "night": 0.9, "rain": 0.8, COMPOSED: 0.9}
    assert second == plan_round(2, 60, 80, DOMAINS, {"fog": 0.5, "night": 0.9, "rain": 0.5}, PARAMS, seed=0)


def test_compositions_contain_the_hardest_domain() -> None:
    difficulty = {"fog": 0.9, "night": 0.6, "rain": 0.5}
    prompts = [plan_round(2, 60, 80, DOMAINS, difficulty, PARAMS, seed).domains[COMPOSED].prompt for seed in range(4)]
    texts = [text for prompt in prompts for text in (choices(prompt) or [[prompt]])[0]]
    assert all("dense fog" in text and ("night" in text or "dusk" in text) for text in texts)
    assert len(set(texts)) > 2
    without = PARAMS.model_copy(update={"compositions": 0.0})
    assert COMPOSED not in plan_round(2, 60, 80, DOMAINS, difficulty, without, 0).images
