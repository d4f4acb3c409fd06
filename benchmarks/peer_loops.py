"""Training loops as torchvision's references and DomainBed write them, with the network of our own step.

Every function returns a function that runs the next step, from opening its images to updating the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import datasets, transforms
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.segmentation.deeplabv3 import ASPP
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.transforms import functional as T

from dg_project.backbones.weights import package_weights
from dg_project.config import Settings

Step = Callable[[], None]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Frames(Dataset[tuple[Tensor, dict[str, Tensor]]]):
    """Rows of a manifest as torchvision's references read them: decoded, flipped and converted at every visit."""

    def __init__(self, rows: list[dict[str, Any]], root: Path, masks: bool) -> None:
        self.rows, self.root, self.masks = rows, root, masks

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the image in 0..1 and its target."""
        row = self.rows[index]
        image = T.to_tensor(Image.open(self.root / row["image"]).convert("RGB"))
        boxes = torch.tensor(np.asarray(row["boxes"], np.float32).reshape(-1, 4))
        target = {"boxes": boxes, "labels": torch.tensor([int(label) for label in row["labels"]])}
        if self.masks:
            target["mask"] = torch.from_numpy(np.array(Image.open(self.root / row["mask"]), np.int64))
        if torch.rand(1) < 0.5:
            image = image.flip(-1)
            boxes[:, [0, 2]] = image.shape[-1] - boxes[:, [2, 0]]
            if self.masks:
                target["mask"] = target["mask"].flip(-1)
        return image, target


def endless(loader: DataLoader[Any]) -> Iterator[Any]:
    """Yield batches, epoch after epoch."""
    while True:
        yield from loader


class Stages(nn.Module):
    """timm's feature pyramid of the backbone, with the same layers frozen as in our step."""

    def __init__(self, settings: Settings, stages: tuple[int, ...]) -> None:
        super().__init__()
        name = settings.backbone.name
        self.body = timm.create_model(name, features_only=True, out_indices=[n - 1 for n in stages])
        self.body.load_state_dict(package_weights(name), strict=False)
        self.channels: list[int] = self.body.feature_info.channels()
        self.names = [f"stage{n}" for n in stages]
        for part in ("conv_stem", "bn1", "blocks.0", "blocks.1"):
            self.body.get_submodule(part).requires_grad_(False)
        self.norms = [module for module in self.body.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in self.norms:
            norm.requires_grad_(False)

    def train(self, mode: bool = True) -> Stages:
        """Keep batch normalisation frozen."""
        super().train(mode)
        for norm in self.norms:
            norm.eval()
        return self

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the maps by stage."""
        return dict(zip(self.names, self.body(images), strict=True))


class Pyramid(nn.Module):
    """Backbone with a feature pyramid, as torchvision's detectors expect it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.stages = Stages(settings, tuple(settings.detection.fpn_stages))
        self.out_channels = settings.detection.fpn_channels
        self.fpn = FeaturePyramidNetwork(self.stages.channels, self.out_channels)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the pyramid."""
        result: dict[str, Tensor] = self.fpn(self.stages(images))
        return result


def detection(settings: Settings, rows: list[dict[str, Any]], root: Path) -> Step:
    """Torchvision's ``references/detection``: its Faster R-CNN with our backbone and sizes."""
    sizes, (height, width) = settings.detection, settings.detection.image_size
    backbone = Pyramid(settings)
    model = FasterRCNN(
        backbone, min_size=height, max_size=width, image_mean=MEAN, image_std=STD,
        rpn_anchor_generator=AnchorGenerator(tuple((s,) for s in sizes.anchor_sizes),
                                             ((0.5, 1.0, 2.0),) * len(sizes.anchor_sizes)),
        rpn_batch_size_per_image=sizes.anchors_per_image, rpn_pre_nms_top_n_train=2 * sizes.proposals_train,
        rpn_post_nms_top_n_train=sizes.proposals_train, box_batch_size_per_image=sizes.rois_per_image,
        box_roi_pool=MultiScaleRoIAlign(backbone.stages.names, sizes.roi_size, sizes.roi_samples,
                                        canonical_scale=int(sizes.roi_scale)),
        box_head=TwoMLPHead(sizes.fpn_channels * sizes.roi_size**2, sizes.box_head_features),
        box_predictor=None if sizes.box_head_features == 1024 else _predictor(settings))
    loader = DataLoader(Frames(rows, root, masks=False), settings.training.images_per_step, shuffle=True,
                        collate_fn=lambda batch: tuple(zip(*batch, strict=True)))
    batches, optimizer = endless(loader), _adamw(model, settings)

    def step() -> None:
        model.train()
        images, targets = next(batches)
        losses = model(list(images), [dict(target) for target in targets])
        total = sum(losses.values())
        total.item()  # the reference logs it and stops if it is not finite
        optimizer.zero_grad()
        total.backward()
        optimizer.step()

    return step


def _predictor(settings: Settings) -> nn.Module:
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor

    return FastRCNNPredictor(settings.detection.box_head_features, len(settings.data.classes) + 1)


def _adamw(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    return torch.optim.AdamW(weights, lr=settings.training.lr, weight_decay=settings.training.weight_decay)


class DeepLab(nn.Module):
    """DeepLabV3+ of our sizes, from torchvision's parts, without channels-last memory."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        sizes = settings.segmentation
        low = sorted(sizes.low_stages)
        self.low = [f"stage{n}" for n in reversed(low)]
        self.stages = Stages(settings, (*low, 5))
        channels = dict(zip(self.stages.names, self.stages.channels, strict=True))
        self.pyramid = ASPP(channels["stage5"], list(sizes.dilations), sizes.channels)
        half = sizes.channels // 2
        self.reduce = nn.ModuleDict({s: _block(channels[s], half, 1) for s in self.low})
        self.join = nn.ModuleDict({s: _block(sizes.channels + half, sizes.channels, 3) for s in self.low})
        self.classifier = nn.Conv2d(sizes.channels, len(sizes.classes), 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits in the size of the images."""
        maps = self.stages(images)
        x = self.pyramid(maps["stage5"])
        for stage in self.low:
            detail = self.reduce[stage](maps[stage])
            x = self.join[stage](torch.cat([F.interpolate(x, detail.shape[-2:], mode="bilinear"), detail], 1))
        return F.interpolate(self.classifier(x), images.shape[-2:], mode="bilinear")


def _block(inputs: int, outputs: int, kernel: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs),
                         nn.ReLU())


def segmentation(settings: Settings, rows: list[dict[str, Any]], root: Path) -> Step:
    """Torchvision's ``references/segmentation``: images and masks opened at every visit, one cross-entropy."""
    model = DeepLab(settings)

    def together(batch: list[tuple[Tensor, dict[str, Tensor]]]) -> tuple[Tensor, Tensor]:
        images = torch.stack([T.normalize(T.resize(image, list(settings.segmentation.image_size)), MEAN, STD)
                              for image, _ in batch])
        masks = torch.stack([T.resize(target["mask"][None], list(settings.segmentation.image_size),
                                      T.InterpolationMode.NEAREST)[0] for _, target in batch])
        return images, masks

    loader = DataLoader(Frames(rows, root, masks=True), settings.training.images_per_step, shuffle=True,
                        collate_fn=together)
    batches, optimizer = endless(loader), _adamw(model, settings)

    def step() -> None:
        model.train()
        images, masks = next(batches)
        loss = F.cross_entropy(model(images), masks, ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def classification(settings: Settings, domains: list[Path], side: int) -> Step:
    """DomainBed's ERM: an ImageFolder and a loader per source domain, its augmentation, Adam."""
    augment = transforms.Compose([
        transforms.RandomResizedCrop(side, scale=(0.7, 1.0)), transforms.RandomHorizontalFlip(),
        transforms.ColorJitter(0.3, 0.3, 0.3, 0.3), transforms.RandomGrayscale(), transforms.ToTensor(),
        transforms.Normalize(MEAN, STD)])
    share = settings.training.images_per_step // len(domains)
    loaders = [endless(DataLoader(datasets.ImageFolder(str(domain), augment), share, shuffle=True, drop_last=True))
               for domain in domains]
    body = timm.create_model(settings.backbone.name, num_classes=0)
    body.load_state_dict({name: value for name, value in package_weights(settings.backbone.name).items()
                          if not name.startswith("classifier")}, strict=False)
    norms = [module for module in body.modules() if isinstance(module, nn.BatchNorm2d)]
    model = nn.Sequential(body, nn.Linear(body.num_features, len(settings.data.classes)))
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.training.lr)

    def step() -> None:
        model.train()
        for norm in norms:
            norm.eval()
        batches = [next(loader) for loader in loaders]
        images, labels = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    return step
