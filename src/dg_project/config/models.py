"""The backbone, and the head of each task."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from dg_project.config.base import WEIGHTS, Fraction, Params

SEMANTIC_CLASSES = ("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign",
                    "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle",
                    "bicycle")
"""The 19 classes that Cityscapes trains on, by train id."""

Task = Literal["detection", "instance_segmentation", "segmentation", "classification"]


class BackboneParams(Params):
    """The feature extractor."""

    name: str = Field("tf_efficientnet_lite0", description="timm's name | hf-hub:<owner>/<model> | torchvision/<name>")
    weights: Annotated[str | None, WEIGHTS] = Field(
        "package", description="package | path of a .safetensors/.pth | hub | null for random")
    frozen_stages: Annotated[int, Field(ge=0)] | Literal["all"] = Field(
        2, description="stem and first stages that do not train; all freezes the whole network")
    frozen_bn: bool = Field(True, description="batch norm keeps its statistics; layer norm trains like other layers")

    @field_validator("weights")
    @classmethod
    def _not_a_hub_name(cls, weights: str | None) -> str | None:
        if weights is not None and weights.startswith("hf-hub:"):
            raise ValueError(f"give '{weights}' as backbone.name, which it says too, and set backbone.weights to hub")
        return weights


class TaskParams(Params):
    """What every task has."""

    image_size: tuple[int, int] = Field((192, 320), description="height, width that images are resized to")


class DetectionParams(TaskParams):
    """Faster R-CNN sizes."""

    fpn_stages: list[int] = Field([3, 4, 5], min_length=1, description="backbone stages of the pyramid; stride 2^n")
    fpn_channels: int = Field(96, ge=8)
    box_head_features: int = Field(256, ge=8)
    anchor_sizes: list[int] = Field([16, 40, 96], min_length=1,
                                    description="pixels, one per pyramid stage, and one more for a pooled level")
    anchors_per_image: int = Field(128, ge=1, description="anchors that the proposal losses sample")
    proposals_train: int = Field(256, ge=1)
    proposals_test: int = Field(150, ge=1)
    rois_per_image: int = Field(64, ge=1)
    roi_size: int = Field(7, ge=1, description="cells per side of a pooled box")
    roi_scale: int = Field(96, ge=1, description="side of the boxes that are pooled at stride 16, pixels; 224 is usual "
                                                 "for sides of 800")
    roi_samples: int = Field(2, ge=1, description="sampling points per cell and side")
    score_threshold: Fraction = 0.02


class InstanceSegmentationParams(DetectionParams):
    """Mask R-CNN sizes: a detector with a mask head."""

    mask_roi_size: int = Field(14, ge=2, description="cells per side of a box pooled for its mask, half of the mask's")
    mask_channels: int = Field(64, ge=8)
    mask_layers: int = Field(2, ge=1)


class SegmentationParams(TaskParams):
    """DeepLabV3+ sizes."""

    classes: list[str] = Field(list(SEMANTIC_CLASSES), min_length=2, description="names of the train ids 0, 1, ...")
    channels: int = Field(96, ge=8, description="of the pyramid pooling and the decoder")
    dilations: list[int] = Field([3, 6, 9], min_length=1, description="of the pyramid pooling, cells of the last stage")
    low_stages: list[int] = Field([3, 2], min_length=1, description="backbone stages whose detail the decoder adds")
    dropout: Fraction = 0.1


class ClassificationParams(TaskParams):
    """One object per image: the labelled boxes are cropped."""

    image_size: tuple[int, int] = Field((96, 96), description="height, width that crops are resized to")
    margin: float = Field(0.2, ge=0, description="what a crop shows around its box, in box sides")
    min_side: int = Field(12, ge=1, description="objects whose longer side has fewer pixels are left out")
    dropout: Fraction = 0.2


TASK_PARAMS: dict[Task, type[TaskParams]] = {
    "detection": DetectionParams, "instance_segmentation": InstanceSegmentationParams,
    "segmentation": SegmentationParams, "classification": ClassificationParams,
}
