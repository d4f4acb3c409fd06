"""Parameters of the backbone and of the task heads."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from dg_project.config.base import WEIGHTS, Fraction, Names, Params

SEMANTIC_CLASSES = ("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign",
                    "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle",
                    "bicycle")
"""The 19 training classes of Cityscapes, by train id."""

Task = Literal["detection", "instance_segmentation", "segmentation", "classification"]


class BackboneParams(Params):
    """The feature extractor."""

    name: str = Field("tf_efficientnet_lite0", description="timm name | hf-hub:<owner>/<model> | torchvision/<name>")
    weights: Annotated[str | None, WEIGHTS] = Field(
        "package", description="package | path of a .safetensors/.pth | hub | null for random")
    frozen_stages: Annotated[int, Field(ge=0)] | Literal["all"] = Field(
        2, description="stem and first stages to freeze; all freezes the whole network")
    frozen_bn: bool = Field(True, description="freeze batch norm; layer norm trains like other layers")

    @field_validator("weights")
    @classmethod
    def _not_a_hub_name(cls, weights: str | None) -> str | None:
        if weights is not None and weights.startswith("hf-hub:"):
            raise ValueError(f"give '{weights}' as backbone.name, and set backbone.weights to hub")
        return weights


class TaskParams(Params):
    """Parameters of every task."""

    image_size: tuple[int, int] = Field((192, 320), description="height, width of resized images")


class DetectionParams(TaskParams):
    """Faster R-CNN sizes."""

    fpn_stages: list[int] = Field([3, 4, 5], min_length=1, description="backbone stages of the pyramid; stride 2^n")
    fpn_channels: int = Field(96, ge=8)
    box_head_features: int = Field(256, ge=8)
    anchor_sizes: list[int] = Field([16, 40, 96], min_length=1,
                                    description="pixels, one per pyramid stage, and at most one more")
    anchors_per_image: int = Field(128, ge=1, description="anchors sampled for the proposal losses")
    proposals_train: int = Field(256, ge=1)
    proposals_test: int = Field(150, ge=1)
    rois_per_image: int = Field(64, ge=1)
    roi_size: int = Field(7, ge=1, description="cells per side of a pooled box")
    roi_scale: int = Field(96, ge=1, description="side in pixels of boxes pooled at stride 16; usually 224 for images "
                                                 "with sides of 800")
    roi_samples: int = Field(2, ge=1, description="sampling points per cell and side")
    score_threshold: Fraction = 0.02


class InstanceSegmentationParams(DetectionParams):
    """Mask R-CNN sizes: Faster R-CNN with a mask head."""

    mask_roi_size: int = Field(14, ge=2, description="cells per side of a pooled box; masks have twice as many")
    mask_channels: int = Field(64, ge=8)
    mask_layers: int = Field(2, ge=1)


class SegmentationParams(TaskParams):
    """DeepLabV3+ sizes."""

    classes: Names = Field(list(SEMANTIC_CLASSES), min_length=2, description="names of the train ids 0, 1, ...")
    channels: int = Field(96, ge=8, description="channels of pyramid pooling and decoder")
    dilations: list[int] = Field([3, 6, 9], min_length=1, description="of the pyramid pooling, in last-stage cells")
    low_stages: list[int] = Field([3, 2], min_length=1, description="earlier backbone stages used by the decoder")
    dropout: Fraction = 0.1


class ClassificationParams(TaskParams):
    """One object per image: crops of the labelled boxes."""

    image_size: tuple[int, int] = Field((96, 96), description="height, width of resized crops")
    margin: float = Field(0.2, ge=0, description="margin of a crop around its box, in box sides")
    min_side: int = Field(12, ge=1, description="objects whose longer side has fewer pixels are skipped")
    dropout: Fraction = 0.2


TASK_PARAMS: dict[Task, type[TaskParams]] = {
    "detection": DetectionParams, "instance_segmentation": InstanceSegmentationParams,
    "segmentation": SegmentationParams, "classification": ClassificationParams,
}
