"""Check and open the generator that the parameters name; a diffusion model is opened by ``ldm`` alone."""

from __future__ import annotations

from pathlib import Path

from dg_project.config import DataParams, LDMParams, Settings, SynthesisParams
from dg_project.core.device import resolve_device
from dg_project.pseudo.generators.base import ImageGenerator


def check_generator(settings: Settings) -> None:
    """Check before a run that its generator can make the pseudo domains.

    Args:
        settings: all parameters, paths located.

    Raises:
        CheckpointError: the checkpoint of the diffusion model is missing or incomplete.
        ParameterError: parameters of the diffusion model that exclude one another.
        DataError: a folder of images is missing, has no image, or shares images with a target domain.
    """
    if settings.synthesis.generator == "ldm":
        from dg_project.diffusion.opening import check_generation

        check_generation(settings.ldm, settings.training.device, settings.synthesis.domains)
    elif settings.synthesis.generator == "fourier":
        from dg_project.pseudo.generators.fourier import style_images

        style_images(settings.synthesis.domains, _targets(settings.data))
    elif settings.synthesis.generator == "folder":
        from dg_project.pseudo.generators.folder import made_images

        made_images(settings.synthesis.domains, _targets(settings.data))


def open_generator(synthesis: SynthesisParams, ldm: LDMParams, data: DataParams, device: str) -> ImageGenerator:
    """Open the generator ``synthesis.generator``.

    Args:
        synthesis: the generator and the pseudo domains.
        ldm: the diffusion model; other generators do not look at it.
        data: source and target domains, paths located.
        device: ``training.device``.

    Raises:
        CheckpointError: the diffusion model cannot be opened.
        ParameterError: it cannot make the domains.
        DataError: a folder of images cannot be used.
    """
    if synthesis.generator == "corruptions":
        from dg_project.pseudo.generators.corruptions import CorruptionGenerator

        return CorruptionGenerator()
    if synthesis.generator == "fourier":
        from dg_project.pseudo.generators.fourier import FourierGenerator

        return FourierGenerator(synthesis.domains, _targets(data))
    if synthesis.generator == "folder":
        from dg_project.pseudo.generators.folder import FolderGenerator

        return FolderGenerator(synthesis.domains, _targets(data))
    from dg_project.diffusion.generator import Generator
    from dg_project.diffusion.opening import check_strengths
    from dg_project.pseudo.generators.diffusion import DiffusionGenerator

    model = Generator.from_params(ldm, resolve_device(device))
    check_strengths(model.mode.name, synthesis.domains)
    return DiffusionGenerator(model, model.resolved(ldm), Path(data.root), data.classes)


def _targets(data: DataParams) -> list[Path]:
    """Return the folders of the target domains."""
    return [Path(data.root) / data.layout(name)[1] for name in data.targets]
