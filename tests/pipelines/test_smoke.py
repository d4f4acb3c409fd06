"""The artifacts of the main run, on generated streets."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from dg_project.core.errors import CheckpointError, DataError, ParameterError

Run = tuple[Any, str]
TARGETS = ["night_clear", "dusk_rainy", "night_rainy", "daytime_foggy"]
COLUMNS = ["method", "task", "source", "domain", "role", "seed", "selection", "metric", "value", "n_images",
           "seconds_per_step", "kedro_version_id"]


def test_results_keep_the_contract(drsf_run: Run) -> None:
    project, version = drsf_run
    results = project.load("results", version)
    assert list(results.columns)[:len(COLUMNS)] == COLUMNS
    assert set(results["metric"]) == {"mAP@50", "mAP"}
    assert list(dict.fromkeys(results["method"])) == ["erm", "naive", "drsf"]
    assert set(results["kedro_version_id"]) == {version}
    assert set(results["domain"]) == {"daytime_clear", *TARGETS, "unseen_mean"}
    assert set(results.loc[results["domain"] == "daytime_clear", "role"]) == {"source"}
    assert set(results.loc[results["domain"] != "daytime_clear", "role"]) == {"target"}
    assert results["value"].between(0, 1).all()
    assert not results.duplicated(["method", "domain", "metric"]).any()


def test_settings_are_parsed_once_in_a_run(drsf_run: Run) -> None:
    assert drsf_run[0].parses == 1


def test_gains_of_the_method_over_both_baselines(drsf_run: Run) -> None:
    project, version = drsf_run
    gains = project.load("gains", version)
    unseen = gains[(gains["domain"] == "unseen_mean") & (gains["metric"] == "mAP@50")]
    assert list(zip(unseen["method"], unseen["over"], strict=True)) == [
        ("naive", "erm"), ("drsf", "erm"), ("drsf", "naive")]


def test_unseen_mean(drsf_run: Run) -> None:
    project, version = drsf_run
    results = project.load("results", version)
    for _, rows in results.groupby(["method", "metric"]):
        by_domain = rows.set_index("domain")["value"]
        assert by_domain["unseen_mean"] == pytest.approx(by_domain[TARGETS].mean())


def test_pseudo_images_match_the_manifest(drsf_run: Run) -> None:
    project, version = drsf_run
    manifest, folder = project.load("pseudo_manifest", version), project.load("pseudo_images", version)
    assert set(manifest["domain"]) == {"fog", "dusk_rain", "night", "night_rain"}
    assert len(manifest) == 4 * 4  # smoke: four source images, four domains, one candidate of two kept
    assert all((folder / image).is_file() for image in manifest["image"])
    assert manifest["weight"].between(0, 1).all()
    assert all(reason for reason, kept in zip(manifest["reason"], manifest["kept"], strict=True) if not kept)


def test_the_model_opens_and_predicts(drsf_run: Run) -> None:
    import torch

    from dg_project.methods.model_folder import load_model

    project, version = drsf_run
    method = load_model(project.load("model", version), "cpu")
    assert method.name == "drsf"
    assert not method.training
    found = method.predict([torch.rand(3, 64, 96)])[0]
    assert {"boxes", "labels", "scores"} <= found.keys()


def test_predictions_of_all_models(drsf_run: Run) -> None:
    project, version = drsf_run
    predictions = project.load("predictions", version)
    assert predictions.groupby("method").size().to_dict() == dict.fromkeys(("erm", "naive", "drsf"), 5 * 3)


def test_report_makes_no_requests(drsf_run: Run) -> None:
    import re

    project, version = drsf_run
    page = project.load("report", version)
    assert page.count("data:image/png;base64,") >= 4
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page)


def test_mlflow_params_metrics_figures(drsf_run: Run) -> None:
    project, version = drsf_run
    run, client = project.tracked(version), project.mlflow()
    assert run.info.status == "FINISHED"
    assert run.data.params["training.max_steps"] == "6"
    assert run.data.params["synthesis.domains.fog.prompt"]
    assert not [name for name in run.data.params if name.startswith((
        "ablation.", "export.", "mic.", "scmd.", "closed_loop.", "segmentation.", "pretrain_ldm.", "predict."))]
    assert run.data.params["drsf.stage"] == "3"
    assert run.info.run_name.startswith("drsf detection s0 6 - ")
    assert "on unseen domains" in run.data.tags["mlflow.note.content"]
    assert "| unseen mean |" in run.data.tags["mlflow.note.content"]
    assert run.data.tags["mlflow.source.name"].startswith("kedro run --pipelines=drsf")
    assert run.data.tags["kedro.pipeline"] == "drsf"
    assert run.data.tags["git.dirty"] in ("True", "False")
    for domain in [*TARGETS, "unseen_mean", "daytime_clear"]:
        assert 0 <= run.data.metrics[f"mAP50/{domain}"] <= 1
        assert 0 <= run.data.metrics[f"baseline/mAP50/{domain}"] <= 1
        assert 0 <= run.data.metrics[f"naive/mAP50/{domain}"] <= 1
        assert run.data.metrics[f"gain/mAP50/{domain}"] == pytest.approx(
            run.data.metrics[f"mAP50/{domain}"] - run.data.metrics[f"baseline/mAP50/{domain}"])
    figures = {artifact.path for artifact in client.list_artifacts(run.info.run_id, "figures")}
    assert {f"figures/{name}.png" for name in ("domain_chart", "prediction_panels", "pseudo_sheet", "feature_shift",
                                               "loss_curves", "gate_maps", "class_gains", "hardest_images")} <= figures
    assert {"report.html", "kedro", "tables"} <= {a.path for a in client.list_artifacts(run.info.run_id)}


def test_mlflow_child_runs_have_equal_metric_names(drsf_run: Run) -> None:
    project, version = drsf_run
    run, client = project.tracked(version), project.mlflow()
    children = client.search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")
    found = {child.data.params["method"]: child for child in children}
    assert set(found) == {"erm", "naive", "drsf"}
    assert {child.info.status for child in children} == {"FINISHED"}
    for name, prefix in (("erm", "baseline/"), ("naive", "naive/"), ("drsf", "")):
        child = found[name]
        assert child.info.run_name == f"{name} detection s0 6"
        for curve in ("train/loss", "train/lr"):
            points = client.get_metric_history(child.info.run_id, curve)
            assert [point.step for point in points] == [1, 2, 3, 4, 5, 6]  # each step once
        assert [point.step for point in client.get_metric_history(child.info.run_id, "train/source_val")] == [3, 6]
        assert child.data.metrics["mAP50/unseen_mean"] == run.data.metrics[f"{prefix}mAP50/unseen_mean"]
        assert not [key for key in child.data.metrics if key.startswith(("baseline/", "naive/", "gain/"))]
        assert (child.data.params["task"], child.data.params["training.max_steps"]) == ("detection", "6")
    models = {model.params["method"]: model for model in client.search_logged_models([run.info.experiment_id])
              if model.source_run_id in {child.info.run_id for child in children}}
    assert set(models) == {"erm", "naive", "drsf"}
    assert models["drsf"].tags["path"] == str(project.load("model", version))
    assert {out.model_id for out in run.outputs.model_outputs} == {model.model_id for model in models.values()}


def test_smoke_keeps_to_its_own_folder(drsf_run: Run) -> None:
    project, version = drsf_run
    made = [path for path in (project.root / "data").rglob("*") if path.is_file()
            and not path.is_relative_to(project.data)]
    assert made
    assert all("01_raw" in path.parts or "tiny_ldm" in path.parts for path in made)
    card = json.loads((project.load("model", version) / "model.json").read_text())
    assert card["meta"]["environment"] == "smoke"


def test_mlflow_versions(drsf_run: Run, tmp_path: Path) -> None:
    project, version = drsf_run
    run = project.tracked(version)
    path = project.mlflow().download_artifacts(run.info.run_id, "kedro/versions.json", str(tmp_path))
    versions = json.loads(Path(path).read_text())
    assert {"model", "results", "pseudo_images", "report"} <= versions.keys()
    assert {entry["version"] for entry in versions.values()} == {version}
    assert "model" in {entry.dataset.name for entry in run.inputs.dataset_inputs}


def test_stage_on_chosen_versions(drsf_run: Run) -> None:
    project, version = drsf_run
    models = dict.fromkeys(("model", "baseline_model", "naive_model"), version)
    alone = project.run("evaluation", load_versions=models)
    assert alone != version
    results, before = project.load("results", alone), project.load("results", version)
    assert set(results["kedro_version_id"]) == {alone}
    assert results["value"].tolist() == pytest.approx(before["value"].tolist())


def test_second_run_reuses_the_workspace(drsf_run: Run) -> None:
    from dg_project.core.files import folder_hash

    project, version = drsf_run
    inputs = dict.fromkeys(("source_manifest", "pseudo_manifest", "pseudo_images"), version)
    places = {p: p.stat().st_mtime_ns for p in (project.data / ".workspace").rglob("*.safetensors")}
    again = project.run("training", load_versions=inputs)
    assert {p: p.stat().st_mtime_ns for p in (project.data / ".workspace").rglob("*.safetensors")} == places
    assert folder_hash(project.load("model", again)) == folder_hash(project.load("model", version))


def test_method_parameter(drsf_run: Run) -> None:
    project, _ = drsf_run
    version = project.run("training", "evaluation", method="naive")
    assert set(project.load("results", version)["method"]) == {"erm", "naive"}
    assert project.tracked(version).data.params["method"] == "naive"


def test_erm_needs_no_diffusion_model(drsf_run: Run) -> None:
    project, _ = drsf_run
    shutil.move(project.root / "data" / "06_models" / "tiny_ldm", project.root / "aside")
    try:
        version = project.run("erm")
        assert set(project.load("results", version)["method"]) == {"erm"}
    finally:
        shutil.move(project.root / "aside", project.root / "data" / "06_models" / "tiny_ldm")


def test_uda_run_without_target_labels(drsf_run: Run) -> None:
    project, _ = drsf_run
    for path in project.root.glob("data/01_raw/streets/*/VOC2007/*/adapt_*"):
        if path.suffix != ".jpg":
            path.write_bytes(b"poison")
    version = project.run("uda")
    results, table = project.load("results", version), project.load("results_table", version)
    assert list(dict.fromkeys(results["method"])) == ["mic", "drsf_uda"]
    assert set(results["setting"]) == set(table["setting"]) == {"UDA"}
    assert project.load("adapt_card", version)["images"] == dict.fromkeys(TARGETS, 3)
    assert "UDA, not domain generalization" in project.load("report", version)
    version = project.run("benchmark", data={"adapt_split": "adapt"}, benchmark={"methods": "erm+mic", "seeds": 1})
    table = project.load("benchmark_table", version).set_index("method")
    assert table["setting"].to_dict() == {"erm": "DG", "mic": "UDA"}


def test_closed_loop_run(drsf_run: Run) -> None:
    project, _ = drsf_run
    version = project.run("closed_loop", method="naive")
    results, table = project.load("results", version), project.load("allocation", version)
    assert set(results["method"]) == {"naive", "naive_closed_loop"}
    assert results.groupby("method")["images_generated"].first().nunique() == 1  # smoke: 4 scenes, 4 domains, 2 each
    assert table.groupby("round")["share"].sum().tolist() == pytest.approx([1, 1])
    manifest, rounds = project.load("closed_loop_manifest", version), project.load("closed_loop_rounds", version)
    assert all((rounds / image).is_file() for image in manifest["image"])
    assert (rounds / "round2" / "card.json").is_file()
    assert "The closed loop" in project.load("report", version)


def test_diga_run(drsf_run: Run) -> None:
    project, _ = drsf_run
    version = project.run("diga")
    results = project.load("results", version)
    assert dict(zip(results["method"], results["setting"], strict=True)) == {"diga_warmup": "DG", "diga": "UDA"}
    assert set(results["task"]) == {"segmentation"}
    history = project.load("history", version)
    assert history["loss_mix"].notna().tolist() == [False] * 3 + [True] * 3
    assert project.tracked(version).data.params["task"] == "segmentation"
    quality = project.load("label_quality", version)
    assert list(dict.fromkeys(zip(quality["labels_of"], quality["features_of"], strict=True))) == [
        ("diga_warmup", "diga_warmup"), ("diga_warmup", "diga"), ("diga", "diga")]
    assert quality["coverage"].between(0, 1).all()
    assert "<figcaption>Pseudo labels</figcaption>" in project.load("report", version)


def test_missing_input_names_its_pipelines(project: Any) -> None:
    with pytest.raises(DataError, match=r"'source_manifest' was never made.*kedro run --pipeline=ingestion"):
        project.run("synthesis")
    with pytest.raises(DataError, match=r"kedro run --pipeline=ingestion && .*kedro run --pipeline=sampling"):
        project.run("training")


@pytest.mark.parametrize(("parameters", "error", "message"), [
    ({"training": {"max_step": 3}}, ParameterError, "Did you mean 'max_steps'"),
    ({"synthesis": {"domains": {}, "domians": {}}}, ParameterError, "Did you mean 'domains'"),
    ({"ldm": {"checkpoint": "data/nowhere"}}, CheckpointError, "data/nowhere"),
    ({"ldm": {"checkpoint": "data/01_raw/streets"}}, CheckpointError, "model_index.json"),
    ({"ldm": {"mode": "img2img"}}, ParameterError, "use ldm.mode: instruct"),
    ({"ldm": {"loras": "data/nowhere.safetensors"}}, CheckpointError, "data/nowhere.safetensors' do not exist"),
    ({"sampling": {"gate": {"clip": "data/01_raw/streets"}}}, CheckpointError, "is not a CLIP model"),
    ({"method": "mic"}, ParameterError, "kedro run --pipeline=uda --params uda.method=mic"),
    ({"backbone": {"name": "resnet81"}}, ParameterError, "no network 'resnet81'. Did you mean 'resnet18'"),
    ({"backbone": {"name": "convnext_tiny"}, "drsf": {"stage": 1}}, ParameterError, "backbone has no stage 'stage1'"),
    ({"method": "lfme", "task": "classification"}, ParameterError,
     "the method 'lfme' compares domains, and there is one domain"),
    ({"method": "diga_warmup"}, ParameterError, "'diga_warmup' is made for segmentation, not for detection"),
    ({"diga": {"self_training": {"begin": 0.2}}}, ParameterError, "unknown parameter 'begin'"),
    ({"data": {"root": "data/nowhere"}}, DataError, "nowhere"),
    ({"data": {"source": "daytime_claer"}}, DataError, "daytime_claer"),
])
def test_bad_input_stops_before_any_work(project: Any, parameters: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        project.run("drsf", **parameters)
    written = [p for p in (project.root / "data").rglob("*") if p.is_file() and "streets" not in p.parts
               and "tiny_ldm" not in p.parts]
    assert written == []


def test_a_failed_run_is_marked_failed(project: Any) -> None:
    (project.root / "data/01_raw/streets/daytime_clear/VOC2007/JPEGImages/train_000.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match="train_000"):
        project.run("ingestion")
    client = project.mlflow()
    run = client.search_runs([client.get_experiment_by_name("smoke").experiment_id])[0]
    assert run.info.status == "FAILED"
    assert "kedro/error.txt" in {a.path for a in client.list_artifacts(run.info.run_id, "kedro")}


def test_model_card(drsf_run: Run) -> None:
    project, version = drsf_run
    text = project.load("model_card", version)
    assert "# Domain-robustness card: DRSF, detection" in text
    assert "fog, dusk_rain, night, night_rain" in text.split("**Pseudo domains**")[1].splitlines()[0]
    assert all(f"* `{target}`: 3 images, used only for scoring." in text for target in TARGETS)
    assert "all images are rendered" in text
    run = project.tracked(version)
    assert "model_card.md" in {entry.path for entry in project.mlflow().list_artifacts(run.info.run_id)}
    assert "Domain-robustness card" in project.load("report", version)
