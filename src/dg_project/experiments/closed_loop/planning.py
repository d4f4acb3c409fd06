"""Plan a round: images per domain, prompts, strengths and compositions, within the budget of the open loop."""

from __future__ import annotations

import random
from dataclasses import dataclass

from dg_project.config import ClosedLoopParams, PseudoDomain, SynthesisParams
from dg_project.core.errors import ParameterError
from dg_project.diffusion.prompts import compose, prompt_of, weather
from dg_project.experiments.closed_loop.allocation import divide, raised, shares

COMPOSED = "composed"
"""The one pseudo domain of all compositions.

A method such as DRSF has one discriminator output per domain, so the list of domains is fixed before the first step.
Compositions do not take the id of one of their parts: an image of fog at night that carries the label of night would
teach the discriminator that night may look like fog.
"""
VARIANTS = 4
"""Number of compositions that a round draws; each image takes one of them."""


@dataclass(frozen=True)
class RoundPlan:
    """One round of synthesis.

    Attributes:
        number: 1-based.
        domains: prompt and strength by pseudo domain.
        images: number of source scenes per domain; ``candidates`` images are generated from each.
    """

    number: int
    domains: dict[str, PseudoDomain]
    images: dict[str, int]

    @property
    def share(self) -> dict[str, float]:
        """Each domain's share of the round."""
        total = sum(self.images.values())
        return {name: count / total for name, count in self.images.items()}


def check_generator(synthesis: SynthesisParams) -> None:
    """Raise ``ParameterError`` for pseudo domains without prompts, which cannot be composed or made stronger."""
    if synthesis.generator != "ldm":
        raise ParameterError("the closed loop composes the prompts of a diffusion model, and synthesis.generator is "
                             f"{synthesis.generator}: set it to ldm, with prompts in synthesis.domains, or train in "
                             "the open loop")


def budget(scenes: int, probes: int, synthesis: SynthesisParams, params: ClosedLoopParams) -> list[int]:
    """Return how many scenes each round may use, so that as many images are generated as in the open loop.

    The open loop generates ``scenes x domains x candidates`` images. Of these the closed loop makes the probes, and
    divides the rest evenly over the rounds; fewer than ``candidates`` images stay unused.

    Args:
        scenes: source scenes that the open loop uses in every domain.
        probes: number of images for measuring difficulty, all domains together.
        synthesis: pseudo domains and candidates.
        params: closed-loop parameters.

    Raises:
        ParameterError: the probes leave less than one image per domain and round, or a domain is called ``composed``.
    """
    if COMPOSED in synthesis.domains:
        raise ParameterError(f"synthesis.domains: '{COMPOSED}' is the name of the closed loop's compositions; rename "
                             "the domain")
    left = (scenes * len(synthesis.domains) * synthesis.candidates - probes) // synthesis.candidates
    if left < params.rounds * (len(synthesis.domains) + 1):
        raise ParameterError(f"closed_loop: the budget of the open loop leaves {max(0, left)} scenes next to "
                             f"{probes} probes, too few for {params.rounds} rounds of {len(synthesis.domains) + 1} "
                             "domains; lower closed_loop.probe_images or rounds, or raise synthesis.n_images")
    return list(divide(left, {str(number): 1.0 for number in range(params.rounds)}).values())


def plan_round(number: int, scenes: int, most: int, domains: dict[str, PseudoDomain],
               difficulty: dict[str, float] | None, params: ClosedLoopParams, seed: int) -> RoundPlan:
    """Return the plan of the next round.

    Args:
        number: round, 1-based.
        scenes: budget of the round.
        most: number of source scenes; a domain uses no scene twice in one round.
        domains: configured pseudo domains.
        difficulty: shrunken difficulty by domain, or None before the first measurement: all get the same.
        params: closed-loop parameters.
        seed: random seed of the compositions.
    """
    if difficulty is None:
        return RoundPlan(number, domains, divide(scenes, dict.fromkeys(domains, 1.0), most))
    weights = shares(difficulty, params.temperature, params.floor)
    images = divide(scenes, {**{name: (1 - params.compositions) * share for name, share in weights.items()},
                             **({COMPOSED: params.compositions} if params.compositions else {})}, most)
    chosen = {name: domain.model_copy(update={
        "strength": raised(domain.strength, difficulty[name], difficulty, params.strength_step)})
        for name, domain in domains.items()}
    if images.get(COMPOSED):
        chosen[COMPOSED] = _composition(chosen, weights, params.compose, random.Random(f"{seed} {number}"))
    return RoundPlan(number, chosen, images)


def _composition(domains: dict[str, PseudoDomain], weights: dict[str, float], most: int,
                 draw: random.Random) -> PseudoDomain:
    """Return a domain whose prompt is a choice among compositions of the weakest domains' words.

    The hardest domain is part of every composition; the others are drawn with their shares of the round. Compositions
    that say no more than one of the domains (night + rain at night) are left out, unless there is no other.
    """
    hardest = max(weights, key=lambda name: weights[name])
    texts: dict[str, bool] = {}
    strength = domains[hardest].strength
    said = {weather(prompt_of(domain, 0)) for domain in domains.values()}
    for _ in range(4 * VARIANTS):
        chosen = [hardest]
        while len(chosen) < min(draw.randint(2, most), len(domains)):
            rest = [name for name in domains if name not in chosen]
            chosen += draw.choices(rest, [weights[name] for name in rest])
        strength = max(strength, *(domains[name].strength for name in chosen))
        seed = draw.randrange(2**31)
        text = compose([prompt_of(domains[name], seed) for name in chosen], seed)
        texts[text] = weather(text) not in said
    new = [text for text, is_new in texts.items() if is_new] or list(texts)
    prompt = "{" + "|".join(new[:VARIANTS]) + "}" if len(new) > 1 else new[0]
    return PseudoDomain(prompt=prompt, strength=strength)
