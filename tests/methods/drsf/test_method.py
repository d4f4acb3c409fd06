"""DRSF: the rows of each loss, and the effect of its options."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from run_settings import settings
from torch import Tensor

from dg_project.config import BackboneParams, DetectionParams
from dg_project.core.errors import ParameterError
from dg_project.data.batches import Batch
from dg_project.methods.combined.drsf_diga import DRSFDiGA
from dg_project.methods.drsf.consistency import AnswerBank
from dg_project.methods.drsf.method import DRSF, DRSFParams, draw_partners, instance_mix
from dg_project.methods.model_folder import ModelSpec, build_method
from dg_project.tasks import Instances

BOXES = torch.tensor([[8.0, 10.0, 40.0, 34.0], [50.0, 20.0, 80.0, 60.0]])


def drsf(**options: Any) -> DRSF:
    detection = DetectionParams(image_size=(64, 96), fpn_channels=16, box_head_features=16, proposals_train=32,
                                rois_per_image=16, anchors_per_image=32)
    method = build_method(ModelSpec(
        method="drsf", method_params=options, classes=["car", "person"], domains=["day", "night", "fog", "rain"],
        backbone=BackboneParams(name="test_efficientnet", weights=None, frozen_stages=0), head=detection.model_dump()))
    assert isinstance(method, DRSF)
    return method.train()


def batch(pseudo: float = 0.0) -> Batch:
    """Two source images with two pseudo images each, ``pseudo`` added to the pixels of the latter."""
    domain = torch.tensor([0, 1, 3, 0, 2, 3])
    images = torch.rand(6, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 0.5
    images[domain > 0] += pseudo
    target = {"boxes": BOXES, "labels": torch.tensor([1, 2]), "difficult": torch.tensor([False, False])}
    pair = torch.tensor([0, 0, 0, 5, 5, 5])
    return Batch(list(images), [dict(target) for _ in range(6)], domain, pair, torch.ones(6))


def losses(method: DRSF, of: Batch) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return method.losses(of, 0.0)


TASK = ("loss_objectness", "loss_rpn_box", "loss_class", "loss_box")


def test_default_losses() -> None:
    assert set(losses(drsf(), batch())) == {*TASK, "loss_align", "loss_rea", "loss_adv_image", "loss_adv_instance"}


@pytest.mark.parametrize("on_pseudo", [False, True])
def test_task_on_pseudo(on_pseudo: bool) -> None:
    method = drsf(task_on_pseudo=on_pseudo, task_on_fused=False, style_reassembly=0.0, mixstyle_stages=[])
    before, after = losses(method, batch()), losses(method, batch(pseudo=0.3))
    same = [torch.equal(before[name], after[name]) for name in TASK]
    assert not any(same) if on_pseudo else all(same)
    assert not torch.equal(before["loss_align"], after["loss_align"])
    assert not torch.equal(before["loss_adv_image"], after["loss_adv_image"])


def test_losses_pseudo_rows_only() -> None:
    alone = batch().rows(batch().domain_id > 0)
    of = losses(drsf(task_on_pseudo=False, task_on_fused=False), alone)
    assert "loss_class" not in of
    assert all(value.isfinite() for value in of.values())


def test_lambdas_scale_losses() -> None:
    plain, scaled = losses(drsf(lambda_align=0.1), batch()), losses(drsf(lambda_align=0.3, lambda_rea=0.05), batch())
    torch.testing.assert_close(scaled["loss_align"], 3 * plain["loss_align"])
    torch.testing.assert_close(scaled["loss_rea"], 5 * plain["loss_rea"])


def test_adversary_gradients() -> None:
    gradients = {}
    for weight in (0.025, 0.05):
        method = drsf(grl_image=weight, grl_instance=0.0)
        losses(method, batch())["loss_adv_image"].backward()
        stem = next(weight for weight in method.model.backbone.parameters() if weight.requires_grad)
        gradients[weight] = (method.image_adversary.discriminator[0].weight.grad, stem.grad)
    torch.testing.assert_close(gradients[0.05][0], gradients[0.025][0])
    torch.testing.assert_close(gradients[0.05][1], 2 * gradients[0.025][1], rtol=1e-3, atol=1e-7)
    assert gradients[0.05][1].abs().max() > 0


def test_parts_left_out() -> None:
    method = drsf(stage=None, grl_image=0.0, grl_instance=0.0)
    assert set(losses(method, batch())) == set(TASK)
    assert set(losses(drsf(grl_image=0.0), batch())) == {*TASK, "loss_align", "loss_rea", "loss_adv_instance"}
    assert set(losses(drsf(stage=None), batch())) == {*TASK, "loss_adv_image", "loss_adv_instance"}


def test_task_on_fused_labels() -> None:
    plain, fused, weighed = drsf(), drsf(task_on_fused=True), batch()
    seen: list[tuple[list[Any], torch.Tensor]] = []

    def watched(maps: Any, inputs: Any, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        seen.append((inputs.targets, weight))
        assert {len(value) for value in maps.values()} == {len(weight)}
        return type(fused.model).losses(fused.model, maps, inputs, weight)

    fused.model.losses = watched  # type: ignore[method-assign]
    weighed.weight = torch.where(weighed.domain_id == 0, 1.0, 0.5)
    for target in weighed.targets[3:]:
        target["labels"] = torch.tensor([2, 2])
    assert set(losses(fused, weighed)) == set(losses(plain, weighed))
    (targets, weight), = seen
    pairs, first = weighed.pair_id.unique(), int((weighed.domain_id == 0).sum())
    assert len(targets) == first + len(pairs)  # every pseudo image of this batch is in a pair
    assert weight[:first].tolist() == [1.0] * first
    for pair, target, mixed in zip(pairs, targets[first:], weight[first:], strict=True):
        source = int(((weighed.pair_id == pair) & (weighed.domain_id == 0)).int().argmax())
        assert torch.equal(target["labels"], weighed.targets[source]["labels"])
        assert 0.5 < mixed < 1


def test_inference_state() -> None:
    state = drsf().inference_state()
    assert any(name.startswith("dfdr.") for name in state)
    assert not any(name.startswith(("aux.", "image_adversary.", "instance_adversary.")) for name in state)
    method = drsf()
    before = method.predict([torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(0))])[0]["scores"]
    torch.nn.init.constant_(method.dfdr.recalibration[2].bias, -8.0)
    after = method.predict([torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(0))])[0]["scores"]
    assert before.shape != after.shape or not torch.equal(before, after)


def test_exchange_ends_with_the_step() -> None:
    method = drsf(cross_reassembly=1.0, style_reassembly=1.0)
    losses(method, batch())
    assert method.dfdr.exchange is None


def test_draw_partners() -> None:
    pair = torch.tensor([0, 0, 0, 5, 5, 9])
    may = pair[:, None] == pair
    assert draw_partners(may, 0.0) is None
    torch.manual_seed(0)
    drawn = torch.stack([draw_partners(may, 1.0) for _ in range(50)])
    assert (pair[drawn] == pair).all()
    assert (drawn[:, :5] != torch.arange(5)).all()
    assert (drawn[:, 5] == 5).all()
    assert set(drawn[:, 0].tolist()) == {1, 2}


def test_looks_change_the_losses() -> None:
    shown = {}
    for look in ("pseudo", "blend", "detail"):
        of = batch(pseudo=0.3)
        of.origins = [None if domain == 0 else of.images[3 * (row // 3)] for row, domain in enumerate(of.domain_id)]
        shown[look] = losses(drsf(soft_fusion=[look], style_reassembly=0.0, mixstyle_stages=[]), of)["loss_class"]
    assert len({value.item() for value in shown.values()}) == 3


def test_mixstyle_stages_in_training() -> None:
    method = drsf(mixstyle_stages=[1, 2])
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    drawn = [method.model.features(images)["stage2"] for _ in range(6)]
    assert not all(torch.equal(drawn[0], other) for other in drawn[1:])
    assert torch.equal(*(method.eval().model.features(images)["stage2"] for _ in range(2)))


def test_params_refuse_mixstyle_at_dfdr() -> None:
    with pytest.raises(ParameterError, match="mixstyle_stages names stage 3, where DFDR sits"):
        drsf(mixstyle_stages=[2, 3])


def test_params_lists_from_command_line() -> None:
    assert DRSFParams.model_validate({"soft_fusion": "pseudo+detail"}).soft_fusion == ["pseudo", "detail"]
    assert DRSFParams.model_validate({"mixstyle_stages": "1+2"}).mixstyle_stages == [1, 2]
    with pytest.raises(ValidationError, match="'pseudo', 'blend' or 'detail'"):
        DRSFParams.model_validate({"soft_fusion": "pseudo+blur"})


def test_style_from_another_domain() -> None:
    method, seen = drsf(style_reassembly=1.0), []
    assert method.dfdr is not None
    method.dfdr.register_forward_pre_hook(lambda module, inputs: seen.append(module.exchange.style_from))
    losses(method, batch())
    domain = batch().domain_id
    assert (domain[seen[0]] != domain).all()


def test_instance_mix() -> None:
    instances = Instances(torch.arange(5.0)[:, None], torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0, 1, 0, 1, 0]))
    mix = torch.tensor([[0.25, 0.75, 0.0], [0.0, 0.5, 0.5]])
    assert instance_mix(mix, instances).tolist() == [[0.25, 0, 0.75, 0, 0], [0, 0.25, 0, 0.75, 0], [0, 0, 0.5, 0, 0.5]]


def test_losses_without_objects_or_pairs() -> None:
    empty = batch()
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long(), "difficult": torch.zeros(0).bool()}
    empty.targets = [nothing] * 6
    assert "loss_adv_instance" not in losses(drsf(), empty)
    lone = batch().rows(torch.tensor([0, 3]))
    assert all(value.isfinite() for value in losses(drsf(task_on_fused=True), lone).values())


def paired(difference: float) -> Batch:
    """A source image and a pseudo image of it, lighter by ``difference``."""
    of = batch().rows(torch.tensor([0, 1]))
    origin = of.images[0]
    of.images[1], of.origins = origin + difference, [None, origin]
    return of


def consistent(**options: Any) -> DRSF:
    return drsf(soft_fusion=["pseudo"], style_reassembly=0.0, mixstyle_stages=[], lambda_con=1.0, **options)


def con(method: DRSF, of: Batch, progress: float = 1.0) -> Tensor:
    torch.manual_seed(0)
    return method.losses(of, progress)["loss_con"]


def test_consistency_grows_with_the_difference_and_the_step() -> None:
    method = consistent()
    assert float(con(method, paired(0.0))) == pytest.approx(0.0, abs=1e-5)
    small, large = con(method, paired(0.1)), con(method, paired(0.4))
    assert 0 < float(small) < float(large)
    torch.testing.assert_close(con(method, paired(0.4), 0.1), large / 2)
    assert float(con(method, paired(0.4), 0.0)) == 0
    assert "loss_con" not in losses(method, batch())  # no row comes with its source image
    halved = paired(0.4)
    halved.weight[1] = 0.5
    torch.testing.assert_close(con(method, halved), large / 2)


def test_boxes_have_their_own_weight_in_the_consistency() -> None:
    method, of = consistent(beta_con=0.0), paired(0.4)
    classes, found = con(method, of), []
    for beta in (1.0, 2.0):
        method.agreement.beta = beta
        found.append(con(method, of) - classes)
    assert float(found[0]) > 0
    torch.testing.assert_close(found[1], 2 * found[0])


def test_consistency_leaves_the_mode_and_asks_without_gradient() -> None:
    method, of = consistent(), paired(0.4)
    origin = torch.rand(3, 64, 96).requires_grad_()
    of.origins = [None, origin]
    con(method, of).backward()
    assert origin.grad is None
    assert method.training
    assert method.model.training


def test_average_gives_the_reference() -> None:
    method, own = consistent(reference="average", reference_alpha=0.9), consistent()
    own.load_state_dict(method.state_dict(), strict=False)
    method.begin_step()
    torch.testing.assert_close(con(method, paired(0.4)), con(own, paired(0.4)))
    before = con(method, paired(0.4))
    with torch.no_grad():
        for weight in method.model.parameters():
            weight.mul_(1.1)
    method.begin_step()  # the average keeps half of the old weights
    assert not torch.equal(con(method, paired(0.4)), before)
    assert not [name for name in method.inference_state() if name.startswith("agreement")]


def test_bank_asks_once_and_draws_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    method, of = drsf(soft_fusion=["pseudo"], lambda_con=1.0, reference="source"), batch()
    images = [((255 * image).to(torch.uint8), target) for image, target in zip(of.images, of.targets, strict=True)]
    model = method.model.eval()
    bank, asked, state = AnswerBank(model, images, torch.device("cpu")), [], torch.random.get_rng_state()
    answer = type(model).answers
    monkeypatch.setattr(type(model), "answers", lambda self, *given: asked.append(1) or answer(self, *given))
    first, again, mirrored = bank(1, False), bank(1, False), bank(1, True)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert first is again
    assert len(asked) == 2
    centres = [answers.places.proposals[0][answers.places.labels[0] > 0][:, [0, 2]].mean()
               for answers in (first, mirrored)]
    assert float(centres[0] + centres[1]) == pytest.approx(96, abs=12), "mirrored objects"
    other = AnswerBank(model, images, torch.device("cpu"))
    other(2, False)
    torch.testing.assert_close(other(1, False).logits, first.logits)  # whatever was asked before


def test_source_trained_reference() -> None:
    method, teacher, of = consistent(reference="source"), drsf(), paired(0.4)
    source = [((255 * of.images[0]).to(torch.uint8), of.targets[0])]
    of.images[0] = source[0][0] / 255
    of.images[1], of.origins = of.images[0] + 0.4, [None, of.images[0]]
    of.pair_id, of.flipped = torch.tensor([0, 0]), [False, False]
    with torch.no_grad():
        for weight in teacher.model.box_heads.box_predictor.parameters():
            weight.mul_(8)
    method.use_reference(teacher.eval())
    method.prepare(source, False, Path(), torch.device("cpu"))
    assert method.train() is method
    far = con(method, of)
    method.use_reference(copy.deepcopy(method).eval())
    method.prepare(source, False, Path(), torch.device("cpu"))
    assert 0 < float(con(method, of)) < 0.5 * float(far), "its own answers are nearer than those of other weights"
    assert not [name for name in method.state_dict() if "bank" in name or "_reference" in name]


def test_consistency_needs_the_source_images() -> None:
    with pytest.raises(ParameterError, match=r"drsf_diga\.lambda_con: the batches of 'drsf_diga' do not hold"):
        DRSFDiGA.check(DRSFDiGA.Params(lambda_con=1.0), settings(task="segmentation"))
