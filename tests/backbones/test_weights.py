"""Sources of weights, and weights that do not fit."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed
from timm.models import save_for_hf
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from dg_project.backbones import Backbone, build_backbone
from dg_project.config import BackboneParams
from dg_project.core.errors import CheckpointError


def built(name: str, weights: object) -> Backbone:
    return build_backbone(BackboneParams(name=name, weights=None if weights is None else str(weights)))


def saved(state: dict[str, Tensor], path: Path) -> Path:
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    return path


def carried(backbone: Backbone, model: nn.Module) -> bool:
    """Return whether all weights of the backbone are those of the model."""
    state = model.state_dict()
    return all(torch.equal(value, state[key]) for key, value in backbone.network.state_dict().items())


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_convnext"])
@pytest.mark.parametrize("classes", [0, 5])
def test_weights_with_any_classifier(name: str, classes: int, tmp_path: Path) -> None:
    model = timm.create_model(name, num_classes=classes)
    backbone = built(name, saved(model.state_dict(), tmp_path / "weights.safetensors"))
    state = {key.replace("stages.", "stages_"): value for key, value in model.state_dict().items()}
    state |= {key.replace("stem.", "stem_"): value for key, value in state.items()}
    assert all(torch.equal(value, state[key]) for key, value in backbone.network.state_dict().items())


def test_position_embeddings_resampled(tmp_path: Path) -> None:
    model = timm.create_model("test_vit", img_size=96)
    backbone = built("test_vit", saved(model.state_dict(), tmp_path / "weights.safetensors"))
    expected = resample_abs_pos_embed(model.pos_embed, new_size=[10, 10], old_size=[6, 6])
    torch.testing.assert_close(backbone.network.pos_embed, expected)
    assert torch.equal(backbone.network.blocks[3].attn.qkv.weight, model.blocks[3].attn.qkv.weight)


def test_torchvision_embeddings_resampled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small = partial(VisionTransformer, patch_size=16, num_layers=4, num_heads=2, hidden_dim=32, mlp_dim=64)
    monkeypatch.setattr("torchvision.models.get_model", lambda name, weights: small(image_size=96))
    model = small(image_size=64)
    network = built("torchvision/vit_b_16", saved(model.state_dict(), tmp_path / "weights.safetensors")).network
    assert network.encoder.pos_embedding.shape == (1, 1 + 6 * 6, 32)
    assert torch.equal(network.encoder.pos_embedding[:, 0], model.encoder.pos_embedding[:, 0])
    assert torch.equal(network.conv_proj.weight, model.conv_proj.weight)


def test_windowed_network_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    model = timm.create_model("swin_tiny_patch4_window7_224", num_classes=3)
    monkeypatch.setattr("dg_project.backbones.weights.given_weights", lambda *args: model.state_dict())
    ours = built("swin_tiny", "a file").network.state_dict()
    assert torch.equal(ours["patch_embed.proj.weight"], model.patch_embed.proj.weight)
    assert torch.equal(ours["layers_3.blocks.1.mlp.fc2.weight"], model.layers[3].blocks[1].mlp.fc2.weight)


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "torchvision/resnet18"])
def test_weights_of_other_network(name: str, tmp_path: Path) -> None:
    other = saved(timm.create_model("test_efficientnet").state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(CheckpointError, match=f"does not fit '{name.removeprefix('torchvision/')}'") as caught:
        built(name, other)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("missing", ["blocks.3.", "pos_embed", "norm."])
def test_weights_with_missing_entry(missing: str, tmp_path: Path) -> None:
    state = timm.create_model("test_vit").state_dict()
    holed = {key: value for key, value in state.items() if not key.startswith(missing)}
    with pytest.raises(CheckpointError, match=f"(?s)does not fit 'test_vit'.*{missing}"):
        built("test_vit", saved(holed, tmp_path / "weights.safetensors"))


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {}])
def test_weights_without_state_dict(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="holds no state dict"):
        built("test_vit", tmp_path / "weights.pth")


def test_hub_folder(tmp_path: Path) -> None:
    model = timm.create_model("test_vit", pretrained_cfg_overlay={"mean": (0.1, 0.2, 0.3)})
    save_for_hf(model, tmp_path, safe_serialization=True)
    name = f"local-dir:{tmp_path}"
    backbone = built(name, "hub")
    assert carried(backbone, model)
    torch.testing.assert_close(backbone.mean.flatten(), torch.tensor([0.1, 0.2, 0.3]))
    assert not carried(built(name, None), model)
    other = timm.create_model("test_vit")
    assert carried(built(name, saved(other.state_dict(), tmp_path / "other.safetensors")), other)


def test_hub_download(monkeypatch: pytest.MonkeyPatch) -> None:
    model = timm.create_model("test_vit")
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", lambda *args, **kwargs: model.state_dict())
    assert carried(built("test_vit.r160_in1k", "hub"), model)
    resnet = torchvision.models.resnet18()
    monkeypatch.setattr("torchvision.models._api.WeightsEnum.get_state_dict",
                        lambda *args, **kwargs: resnet.state_dict())
    first = built("torchvision/resnet18", "hub").network.get_submodule("0").weight
    assert torch.equal(first, resnet.conv1.weight)


def test_hub_download_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", offline)
    monkeypatch.setattr("timm.models._factory.load_model_config_from_hf", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    for name in ("test_vit.r160_in1k", "torchvision/resnet18"):
        with pytest.raises(CheckpointError, match=r"could not be downloaded .*no route to host.*to a path or null"):
            built(name, "hub")
    with pytest.raises(CheckpointError, match=r"'hf-hub:timm/some' cannot be read \(no route to host\)"):
        built("hf-hub:timm/some", "hub")


def test_weights_in_memory_once(tmp_path: Path) -> None:
    path = saved(timm.create_model("test_resnet").state_dict(), tmp_path / "weights.safetensors")
    assert "state_dict" not in built("test_resnet", path).network.pretrained_cfg
