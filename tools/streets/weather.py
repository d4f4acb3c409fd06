"""Weather as numbers: the five benchmark domains, the continuous ranges of the corpus, and the words of a caption."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

DOMAINS = ("daytime_clear", "night_clear", "dusk_rainy", "night_rainy", "daytime_foggy")


@dataclass(frozen=True)
class Weather:
    """Everything that may change between two renders of the same geometry."""

    sun: float  # elevation in degrees (below -4 is night)
    azimuth: float  # of the sun, degrees
    cloud: float = 0.0  # 0 clear sky .. 1 overcast
    fog: float = 0.0  # extinction per metre
    rain: float = 0.0  # 0 none .. 1 downpour
    wet: float = 0.0  # wetness of the ground
    snow: float = 0.0  # snow lying on the ground
    flakes: float = 0.0  # falling snow
    lamp_warmth: float = 0.8  # street lamps: 0 white .. 1 sodium
    exposure: float = 0.0  # stops
    warmth: float = 0.0  # grading: -1 cool .. 1 warm
    saturation: float = 1.0
    contrast: float = 1.0
    noise: float = 0.005  # sensor noise
    drops: float = 0.0  # rain drops on the lens
    seed: int = 0

    @property
    def darkness(self) -> float:
        """0 by day .. 1 at night."""
        return min(1.0, max(0.0, (6.0 - self.sun) / 12.0))


def benchmark_weather(domain: str, rng: random.Random) -> Weather:
    """A draw from the narrow recipe of one of the five domains."""
    u = rng.uniform
    base = {"azimuth": u(0, 360), "seed": rng.getrandbits(31), "exposure": u(-0.2, 0.2), "lamp_warmth": u(0.6, 1.0)}
    if domain == "daytime_clear":
        return Weather(sun=u(22, 60), cloud=u(0.0, 0.45), **base)
    if domain == "night_clear":
        return Weather(sun=-20, cloud=0.2, wet=u(0, 0.15), noise=u(0.012, 0.022), saturation=0.95, **base)
    if domain == "dusk_rainy":
        r = u(0.4, 0.85)
        return Weather(
            sun=u(-1.5, 2.5),
            cloud=u(0.75, 1.0),
            fog=u(0.004, 0.012),
            rain=r,
            wet=u(0.75, 1.0),
            drops=u(0, 0.6),
            noise=0.012,
            warmth=u(-0.5, 0.0),
            saturation=0.85,
            **base,
        )
    if domain == "night_rainy":
        return Weather(
            sun=-20,
            cloud=1.0,
            fog=u(0.004, 0.012),
            rain=u(0.5, 1.0),
            wet=u(0.85, 1.0),
            drops=u(0.3, 1.0),
            noise=u(0.016, 0.028),
            saturation=0.9,
            **base,
        )
    if domain == "daytime_foggy":
        return Weather(sun=u(15, 45), cloud=u(0.85, 1.0), fog=u(0.022, 0.055), wet=u(0, 0.3), saturation=0.85, **base)
    raise ValueError(f"unknown domain {domain!r}; choose one of {', '.join(DOMAINS)}")


def corpus_clear(rng: random.Random) -> Weather:
    """Clear day in the corpus' own grading (flatter and more saturated light than the benchmark's day)."""
    u = rng.uniform
    return Weather(
        sun=u(28, 68),
        azimuth=u(0, 360),
        cloud=u(0, 0.35),
        exposure=u(-0.15, 0.35),
        warmth=u(0.1, 0.6),
        saturation=u(1.05, 1.3),
        contrast=u(0.9, 1.05),
        noise=0.003,
        seed=rng.getrandbits(31),
    )


def corpus_weather(rng: random.Random) -> Weather:
    """A draw from continuous ranges: any hour with any mixture of cloud, fog, rain, wetness and snow."""
    u = rng.uniform
    hour = rng.random()
    sun = u(-25, -5) if hour < 0.36 else u(-5, 9) if hour < 0.58 else u(9, 65)
    rain = fog = snow = flakes = drops = 0.0
    wet = u(0, 0.6) if rng.random() < 0.2 else 0.0
    cloud = rng.choice((u(0, 0.4), u(0.4, 1.0)))
    if rng.random() < 0.42:
        rain = u(0.1, 1.0)
        wet, cloud = u(0.4, 1.0), u(0.6, 1.0)
        drops = u(0, 0.8) * rain
    elif rng.random() < 0.17:
        snow = u(0.3, 1.0)
        flakes = rng.choice((0.0, u(0.2, 1.0)))
        cloud = max(cloud, 0.6) if flakes else cloud
    if rng.random() < 0.33:
        fog = math.exp(u(math.log(0.012), math.log(0.11)))
        cloud = max(cloud, 0.6)
    elif rain:
        fog = u(0.0, 0.01)
    if not (rain or fog or snow) and sun > 9:
        cloud = u(0.7, 1.0)
    return Weather(
        sun=sun,
        azimuth=u(0, 360),
        cloud=cloud,
        fog=fog,
        rain=rain,
        wet=wet,
        snow=snow,
        flakes=flakes,
        drops=drops,
        lamp_warmth=u(0.0, 0.7),
        exposure=u(-0.3, 0.5),
        warmth=u(-0.4, 0.6),
        saturation=u(0.9, 1.25),
        contrast=u(0.85, 1.1),
        noise=u(0.002, 0.02),
        seed=rng.getrandbits(31),
    )


def caption(w: Weather) -> str:
    """Words for a weather, e.g. "a city street at night in heavy rain, wet road"."""
    if w.sun > 9 and not (w.rain or w.fog > 0.011 or w.snow) and w.cloud < 0.5:
        return "a city street on a clear sunny day"
    time = "at night" if w.sun < -5 else "at dusk" if w.sun < 9 else "during the day"
    air: list[str] = []
    if w.rain:
        air.append("light rain" if w.rain < 0.4 else "rain" if w.rain < 0.7 else "heavy rain")
    if w.flakes:
        air.append("falling snow")
    if w.fog > 0.011:
        air.append("light fog" if w.fog < 0.025 else "fog" if w.fog < 0.055 else "dense fog")
    ground = "snowy road" if w.snow else "wet road" if w.wet > 0.35 else ""
    sky = "" if air else "overcast sky" if w.cloud > 0.6 else "clear sky"
    head = f"a city street {time}" + (" in " + " and ".join(air) if air else "")
    return ", ".join([head, *(p for p in (sky, ground) if p)])
