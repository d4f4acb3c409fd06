"""Build backbones by name, from timm or torchvision."""

from __future__ import annotations

from dg_project.backbones.backbone import PROBE, Backbone
from dg_project.backbones.timm_networks import timm_body
from dg_project.backbones.torchvision_networks import torchvision_body
from dg_project.config import BackboneParams
from dg_project.core.errors import ParameterError

TORCHVISION = "torchvision/"


def build_backbone(params: BackboneParams) -> Backbone:
    """Build a backbone with its weights.

    Args:
        params: ``name`` is a timm name (``tf_efficientnet_lite0``, ``vit_small_patch14_dinov2.lvd142m``), a short
            name (``vit_small``), ``hf-hub:<owner>/<model>`` or ``torchvision/<name>``; ``weights`` is ``package``
            (from an installed package), the path of a state dict, ``hub`` (the library downloads them) or None
            (random).

    Raises:
        ParameterError: unknown name, or a network whose stages are not maps.
        CheckpointError: the weights cannot be read or do not belong to the network.
    """
    name = params.name.removeprefix(TORCHVISION)
    body = (timm_body if name == params.name else torchvision_body)(name, params.weights)
    try:
        return Backbone(body, params.frozen_stages, params.frozen_bn)
    except (ParameterError, RuntimeError, AssertionError, AttributeError, TypeError, ValueError) as error:
        raise ParameterError(f"backbone.name: '{params.name}' gives no maps for an image of {PROBE[0]} x {PROBE[1]} "
                             f"pixels ({error}); choose a convolutional network, a Swin or a plain vision "
                             "transformer") from error
