"""Every figure shows the given numbers; its text stays inside the picture and off the axes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evaluation.helpers import bootstrap_boxes
from figures.cases import (
    CLASSES,
    WEATHERS,
    benchmark_records,
    history,
    pseudo_manifest,
    street_manifest,
    street_predictions,
)
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from streets_fixture import CLASSES as STREET_CLASSES

from dg_project.config import SEMANTIC_CLASSES
from dg_project.evaluation.detection import BoxScorer
from dg_project.evaluation.features import domain_shift, embed
from dg_project.evaluation.outcomes import outcome
from dg_project.evaluation.scorer import per_image_scores
from dg_project.evaluation.scorers import SCORERS
from dg_project.evaluation.table import benchmark_table
from dg_project.experiments.training_data import task_rows
from dg_project.figures.allocation_chart import allocation_chart
from dg_project.figures.benchmark_chart import benchmark_chart, forest_chart, records_chart
from dg_project.figures.class_gains import class_gains_chart
from dg_project.figures.contact_sheet import contact_sheet
from dg_project.figures.domain_chart import domain_chart
from dg_project.figures.feature_shift import feature_shift
from dg_project.figures.gate_maps import gate_maps
from dg_project.figures.hard_samples import hard_samples, hardest_images
from dg_project.figures.label_precision import label_precision
from dg_project.figures.loss_curves import loss_curves
from dg_project.figures.prediction_panels import prediction_panels
from dg_project.figures.pseudo_sheet import pseudo_sheet
from dg_project.figures.scene_views import scene_views, write_views
from dg_project.figures.style import FALSE, HIT, MISSED, REJECTED, figure_style, headline, method_colours, new_figure


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict:
    root = tmp_path_factory.mktemp("run")
    manifest = street_manifest(root / "data", 4)
    predictions = {"erm": street_predictions(manifest, 0.6), "drsf": street_predictions(manifest, 0.9, 1)}
    result = bootstrap_boxes(predictions, manifest, CLASSES, resamples=20)
    source = street_manifest(root / "source", 6, {"daytime_clear": (1, 0)}, split="train")
    return {"root": root, "manifest": manifest, "predictions": predictions, "intervals": result.intervals(),
            "differences": result.differences("erm"), "source": source,
            "pseudo": pseudo_manifest(root / "pseudo", source)}


def shift_figure() -> tuple[Figure, pd.DataFrame]:
    generator = np.random.default_rng(0)
    names = {"daytime_clear": "source", "night_clear": "target", "pseudo night": "pseudo"}
    domains = [name for name in names for _ in range(10)]
    features = generator.normal(size=(30, 8)) + np.repeat([0, 3, 1], 10)[:, None]
    nearer = features - 0.5 * np.repeat([0, 3, 1], 10)[:, None]
    shift = pd.concat([domain_shift(values, domains, "daytime_clear").assign(model=model)
                       for model, values in (("erm", features), ("drsf", nearer))])
    points = {"erm": embed(features, "pca"), "drsf": embed(nearer, "pca")}
    return feature_shift(points, domains, [names[d] for d in domains], shift, method="PCA"), shift


def allocation() -> pd.DataFrame:
    rows = [(1, "fog", 0.5, 12, 0.8, 0.5, 10), (1, "night", 0.7, 12, 0.8, 0.5, 10),
            (1, "composed", np.nan, 0, np.nan, 0.0, 0), (2, "fog", 0.4, 12, 0.8, 0.25, 5),
            (2, "night", 0.5, 12, 0.9, 0.5, 10), (2, "composed", np.nan, 0, 0.9, 0.25, 5)]
    return pd.DataFrame(rows, columns=["round", "domain", "difficulty", "n_images", "strength", "share", "images"])


def gains() -> pd.DataFrame:
    rows = [("night", "car", 0.1, 20), ("night", "bus", -0.05, 3), ("night", "all", 0.025, 23),
            ("fog", "car", 0.02, 20), ("fog", "bus", np.nan, 0), ("fog", "all", 0.02, 20)]
    return pd.DataFrame(rows, columns=["domain", "class", "gain", "n_labels"])


def hardest(run: dict) -> Figure:
    root = run["root"] / "data"
    scores = {name: per_image_scores(SCORERS["detection"], found, run["manifest"], CLASSES, root)
              for name, found in run["predictions"].items()}
    return hardest_images(scores, run["predictions"]["drsf"], run["manifest"], root, CLASSES, metric="mAP@50", images=2)


def gates() -> Figure:
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 255, (48, 80, 3)).astype(np.uint8)] * 3
    return gate_maps(images, ["daytime_clear\n(train)", "fog\n(pseudo)", "night_clear\n(target)"],
                     generator.normal(size=(3, 8, 6, 10)), generator.random((3, 8)), generator.random((3, 8)),
                     stage="stage3")


def crops(run: dict) -> pd.DataFrame:
    objects = task_rows(run["source"], "classification", {"min_side": 1})
    label = objects["labels"].map(lambda labels: labels[0] - 1)
    return objects.assign(ce=np.linspace(3, 0.01, len(objects)), student=(label + 1) % len(CLASSES), teacher=label)


def validated(losses: pd.DataFrame, best: float) -> pd.DataFrame:
    """Return a history with a score after 20 and 40 steps."""
    steps = losses["step"] + 1
    scores = {20: best if best < 0.6 else 0.4, 40: best if best >= 0.6 else 0.3}
    return losses.assign(step=steps, source_val=steps.map(scores))


def quality() -> pd.DataFrame:
    rows = [("consensus", 0.6, 0.85), ("threshold", 0.4, 0.9), ("equal", 0.6, 0.8), ("teacher", 0.6, 0.88),
            ("consensus_by_class", 0.5, 0.62), ("equal_by_class", 0.5, 0.6), ("curve", 0.1, 0.95), ("curve", 0.4, 0.9),
            ("curve", 0.6, 0.8), ("curve", 1.0, 0.7)]
    return pd.concat([pd.DataFrame(rows, columns=["rule", "coverage", "precision"]).assign(labels_of=labels,
                                                                                            features_of=features)
                      for labels, features in (("diga_warmup", "diga_warmup"), ("diga_warmup", "diga"))])


def make(name: str, run: dict) -> Figure:
    records = benchmark_records()
    return {
        "domain": lambda: domain_chart(run["intervals"], run["differences"], source="daytime_clear", note="Seed 0."),
        "losses": lambda: loss_curves(
            {"erm": validated(history(40, 0, ("loss_box",)), 0.5),
             "drsf": validated(history(40, 1, ("loss", "loss_box", "loss_align", "loss_rea", "loss_adv")), 0.6)},
            {"erm": 20, "drsf": 40}),
        "panels": lambda: prediction_panels(run["predictions"], run["manifest"], run["root"] / "data", CLASSES,
                                            scenes=1),
        "pseudo": lambda: pseudo_sheet(run["source"], run["root"] / "source", run["pseudo"], run["root"] / "pseudo"),
        "shift": lambda: shift_figure()[0],
        "allocation": lambda: allocation_chart(allocation()),
        "gains": lambda: class_gains_chart(gains(), baseline="erm", method="drsf", metric="mAP@50"),
        "hardest": lambda: hardest(run),
        "hard": lambda: hard_samples(crops(run), run["root"] / "source", CLASSES, 0.3),
        "gates": lambda: gates(),
        "labels": lambda: label_precision(quality(), 0.9, "8 test images of 2 target domains"),
        "benchmark": lambda: benchmark_chart(benchmark_table(records), records),
        "forest": lambda: forest_chart(benchmark_table(records), records),
    }[name]()


def text_of(figure: Figure) -> str:
    return " ".join(text.get_text().replace("\n", " ") for text in figure.texts)


@pytest.mark.parametrize("name", ["domain", "losses", "panels", "pseudo", "shift", "benchmark", "forest", "allocation",
                                  "gains", "hardest", "hard", "gates",
                                  "labels"])
def test_text_stays_inside_and_off_the_axes(name, run):
    figure = make(name, run)
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    width, height = figure.bbox.size
    blocks = [axes.get_tightbbox(renderer) for axes in figure.axes]
    for text in figure.texts:
        box = text.get_window_extent(renderer)
        assert box.x0 >= 0
        assert box.x1 <= width
        assert box.y0 >= 0
        assert box.y1 <= height
        assert not any(box.overlaps(block) for block in blocks), f"{name}: '{text.get_text()}' lies on an axes"
    for axes, block in zip(figure.axes, blocks, strict=True):
        assert block.x0 >= -1
        assert block.x1 <= width + 1, f"{name}: {axes.get_title()} is cut off"
    for legend in figure.legends:
        assert legend.get_window_extent(renderer).x1 <= width


def test_domain_chart_shows_values_and_difference(run):
    figure = make("domain", run)
    axes = figure.axes[0]
    expected = 100 * run["intervals"].set_index(["method", "domain"])["value"]
    heights = [bar.get_height() for bars in axes.containers if hasattr(bars, "patches") for bar in bars.patches]
    np.testing.assert_allclose(heights, [*expected["erm"], *expected["drsf"]])
    gain = run["differences"].set_index("domain").loc["unseen_mean"]
    assert f"{100 * gain['difference']:+.1f}" in text_of(figure)
    assert "n = 4 test images per domain" in text_of(figure)
    assert "%" in axes.get_ylabel()


def test_domain_chart_tells_the_gains_of_the_last_method(run):
    gains = run["differences"]
    three = pd.concat([gains.assign(method="naive", difference=0.5), gains.assign(difference=0.123),
                       gains.assign(over="naive", difference=0.045)])
    text = text_of(domain_chart(run["intervals"], three, source="daytime_clear"))
    assert "over ERM +12.3, interval" in text
    assert "over naive +4.5, interval" in text
    assert "+50.0" not in text


def test_domain_chart_without_intervals(run):
    bare = run["intervals"].assign(low=np.nan, high=np.nan)
    bare.loc[bare["domain"] == "night_rainy", "value"] = np.nan
    figure = domain_chart(bare, run["differences"].iloc[:0], source="daytime_clear")
    figure.canvas.draw()
    assert [t.get_text() for t in figure.axes[0].texts].count("not run") == 2
    assert "bootstrap" not in text_of(figure)


def test_loss_curves_skip_missing_losses(run):
    figure = make("losses", run)
    lines = {axes.get_title(loc="left"): len({line.get_color() for line in axes.lines}) for axes in figure.axes}
    assert lines == {"validation on the source (%)": 2, "total loss": 1, "box": 2, "align": 1, "rea": 1, "adv": 1,
                     "learning rate": 2}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ERM", "DRSF"]


def test_validation_comes_first_with_the_chosen_step_marked(run):
    figure = make("losses", run)
    rings = [line.get_xydata().tolist() for line in figure.axes[0].lines if line.get_fillstyle() == "none"]
    assert rings == [[[20, 50]], [[40, 60]]]
    assert text_of(figure).startswith("Weights chosen by validation on the source: ERM 50.0 at step 20, DRSF 60.0 at "
                                      "step 40; DRSF still rising at the last step")
    assert "Steps: ERM 40, DRSF 40." in text_of(figure)
    without = loss_curves({"erm": history(40, 0, ("loss_box",))}, {"erm": 40})
    assert text_of(without).startswith("Training losses")


def test_prediction_panels_apply_the_threshold(run):
    figure = make("panels", run)
    assert len(figure.axes) == 2 * len(WEATHERS)
    first = figure.axes[0]
    rows = run["manifest"][run["manifest"]["domain"] == "daytime_clear"]
    easy = rows["difficult"].map(lambda flags: sum(not flag for flag in flags))
    chosen = rows.loc[easy.idxmax()]
    found = run["predictions"]["erm"]
    own = found[(found["domain"] == "daytime_clear") & (found["image_id"] == chosen["image_id"])].iloc[0]
    result = outcome(BoxScorer().pair(chosen, own, Path()), 0.5)
    colours = [to_hex(patch.get_edgecolor()) for patch in first.patches]
    assert colours.count(HIT) == result.hit.sum() > 0
    assert colours.count(FALSE) == result.false.sum()
    assert colours.count(MISSED) == (result.counted & ~result.found).sum() > 0
    assert len(colours) == easy.max() + result.false.sum()
    assert first.get_xlabel() == str(result)
    assert first.get_ylabel() == "ERM"


def test_scene_views_tell_the_same_outcome(run, tmp_path):
    scenes = scene_views(run["predictions"], run["manifest"], run["root"] / "data", CLASSES)
    views = scenes.views
    assert [(view.domain, view.method) for view in views] == [(d, m) for d in WEATHERS for m in ("erm", "drsf")]
    assert {view.image.size for view in views} == {(960, 576)}
    assert views[0].says == make("panels", run).axes[0].get_xlabel()
    write_views(scenes, tmp_path)
    assert (tmp_path / "daytime_clear" / "erm.webp").is_file()
    listed = json.loads((tmp_path / "views.json").read_text())
    assert listed["marks"].startswith("Green: found")
    assert listed["views"][0] == {"domain": "daytime_clear", "method": "erm", "image": "daytime_clear/erm.webp",
                                  "says": views[0].says}


def test_prediction_panels_without_shared_scenes(run):
    manifest = run["manifest"].copy()
    manifest["image_id"] = manifest["domain"] + manifest["image_id"]
    predictions = street_predictions(manifest, 0.9)
    figure = prediction_panels({"drsf": predictions}, manifest, run["root"] / "data", CLASSES, scenes=99)
    assert len(figure.axes) == 4 * len(WEATHERS)


def test_pseudo_sheet_frames_dropped_images(run):
    figure = make("pseudo", run)
    framed = [axes for axes in figure.axes
              if axes.spines["left"].get_visible() and to_hex(axes.spines["left"].get_edgecolor()) == REJECTED]
    assert len(framed) == int((~run["pseudo"]["kept"]).sum()) == 2
    assert all("below 40 %" in axes.get_xlabel().replace("\n", " ") for axes in framed)
    assert "16 of 18 images kept, 2 dropped" in text_of(figure)


def test_pseudo_sheet_with_missing_image(run):
    pseudo = run["pseudo"].drop(index=run["pseudo"].index[0])
    figure = pseudo_sheet(run["source"], run["root"] / "source", pseudo, run["root"] / "pseudo", scenes=3)
    assert sum(text.get_text() == "not generated" for axes in figure.axes for text in axes.texts) == 1


def test_feature_shift_shows_points_and_distances():
    figure, shift = shift_figure()
    *clouds, bars = figure.axes
    assert [sum(len(dots.get_offsets()) for dots in cloud.collections) for cloud in clouds] == [30, 30]
    assert sorted(bar.get_width() for bar in bars.patches) == sorted(shift["mmd2"])
    after = shift[shift["model"] == "drsf"]["mmd2"].mean()
    assert f"DRSF {after:.3f}" in text_of(figure)
    assert "n = 10 images" in text_of(figure)


def test_class_gains_mark_missing_classes():
    shown = [text.get_text() for text in make("gains", {}).axes[0].texts]
    assert shown == ["+10.0", "-5.0", "+2.5", "+2.0", "–", "+2.0"]


def test_hardest_images_have_the_lowest_scores(run):
    figure = make("hardest", run)
    scores = per_image_scores(SCORERS["detection"], run["predictions"]["drsf"], run["manifest"], CLASSES,
                              run["root"] / "data")
    worst = scores[scores["domain"] == "night_rainy"]["value"].nsmallest(2)
    column = [axes.get_xlabel() for axes in figure.axes if axes.get_subplotspec().colspan.start
              == list(dict.fromkeys(run["manifest"]["domain"])).index("night_rainy")]
    assert [label.split("DRSF ")[1] for label in column] == [f"{100 * value:.0f}" for value in worst]


def test_hard_samples_order(run):
    figure, samples = make("hard", run), crops(run)
    n_hard = int(0.3 * len(samples))
    framed = [to_hex(axes.spines["left"].get_edgecolor()) == REJECTED for axes in figure.axes]
    assert sum(framed) == n_hard < 30
    shown = [float(axes.get_xlabel().split("\n")[0].split()[-1]) for axes in figure.axes]
    np.testing.assert_allclose(shown[:n_hard], samples["ce"].head(n_hard), atol=0.006)
    np.testing.assert_allclose(shown[n_hard:], samples["ce"].tail(len(shown) - n_hard), atol=0.006)
    assert all("s: " in axes.get_xlabel() and "t: " not in axes.get_xlabel() for axes in figure.axes)
    assert f"{n_hard} of {len(samples)} training crops" in text_of(figure)
    assert "right on 100% of these" in text_of(figure)


def test_label_precision_shows_the_gain():
    figure = make("labels", {})
    assert "at equal coverage: +5.0, +5.0 points" in text_of(figure)
    assert "each at its own coverage: +2.0, +2.0." in text_of(figure)
    own = [{line.get_label(): line.get_xydata() for line in axes.lines}.get("labels of the feature model")
           for axes in figure.axes]
    assert own[0] is None  # the line is its own
    np.testing.assert_allclose(own[1], [[60, 88]])
    for axes in figure.axes:
        lines = {line.get_label(): line.get_xydata() for line in axes.lines}
        np.testing.assert_allclose(lines["consensus"], [[60, 85]])
        np.testing.assert_allclose(lines["confidence 0.9 or more"], [[40, 90]])
        np.testing.assert_allclose(lines["most confident first"], [[10, 95], [40, 90], [60, 80], [100, 70]])
        assert [text.get_text() for text in axes.texts] == ["+5.0"]


def test_benchmark_chart_names_the_best(run):
    figure = make("benchmark", run)
    table = benchmark_table(benchmark_records())
    assert f"DRSF, {100 * table.loc['drsf', 'unseen_mean']:.1f}" in text_of(figure)
    gains = [text.get_text() for text in figure.axes[1].texts]
    assert f"{100 * table.loc['drsf', 'gain']:+.1f}, p = {table.loc['drsf', 'gain_p_t']:.3f}" in gains
    single = benchmark_records().query("seed == 0")
    benchmark_chart(benchmark_table(single), single).canvas.draw()


@pytest.mark.parametrize(("above", "told"), [(-0.002, "DRSF, 50.0, level with naive (49.8)"),
                                             (0.1, "naive, 60.0; ERM")])
def test_title_says_level_unless_the_seeds_tell_rows_apart(above, told):
    rows = benchmark_records()
    naive = rows["method"] == "naive"
    noise = rows["seed"].map({0: 0.01, 1: -0.01, 2: 0.0})
    unseen = rows["domain"] == "unseen_mean"
    rows.loc[unseen & (rows["method"] == "drsf"), "value"] = 0.5
    rows.loc[unseen & naive, "value"] = 0.5 + above + noise[unseen & naive]
    assert f"unseen domains: {told}" in text_of(benchmark_chart(benchmark_table(rows), rows))


@pytest.mark.parametrize("chart", [benchmark_chart, forest_chart])
def test_uda_rows_are_marked_and_never_best(chart):
    records = benchmark_records()
    table = benchmark_table(records)
    table.loc["drsf", "setting"] = "UDA"
    figure = chart(table, records, metric="mAP@50")
    assert "Highest mean mAP@50 over unseen domains: MixStyle" in text_of(figure)
    assert f"of those that adapt to them: DRSF, {100 * table.loc['drsf', 'unseen_mean']:.1f}" in text_of(figure)
    assert "† opened unlabelled target images" in text_of(figure)
    assert "DRSF †" in [label.get_text() for axes in figure.axes for label in axes.get_yticklabels()]


def test_many_rows_become_a_forest_chart():
    grid = pd.concat([benchmark_records(), *(benchmark_records().query("method == 'drsf'").assign(method=f"row_{k}")
                                             for k in range(5))])
    table = benchmark_table(grid)
    figure = records_chart(table, grid, metric="mAP@50")
    means, gains = figure.axes
    assert [label.get_text() for label in means.get_yticklabels()][:2] == ["ERM", "MixStyle"]
    assert f"{100 * table.loc['row_4', 'gain']:+.1f}" in [text.get_text() for text in gains.texts]
    assert "t-interval over seeds" in text_of(figure)


def test_methods_keep_their_colours():
    assert method_colours(["erm", "drsf"])["drsf"] == method_colours(["new", "drsf", "other"])["drsf"]
    assert len(set(method_colours(["a", "b", "c", "erm"]).values())) == 4


def test_figures_keep_global_settings(run):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    make("benchmark", run)
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(("labels", "lines"), [(["a", "b"], 1), ([f"a longer class {n}" for n in range(11)], 6)])
def test_legend_breaks_into_lines(labels, lines):
    with figure_style():
        figure = new_figure(5.0, 4.0)
        figure.add_subplot().plot([0, 1])
        headline(figure, "Title", "Caption.", [Patch(label=label) for label in labels])
    figure.canvas.draw()
    legend, axes = figure.legends[0], figure.axes[0]
    rows = {round(text.get_window_extent().y0) for text in legend.get_texts()}
    assert len(rows) == lines
    assert legend.get_window_extent().x1 <= figure.bbox.x1
    assert legend.get_window_extent().y1 <= axes.get_tightbbox().y0 + 2


@pytest.mark.parametrize("task", ["detection", "segmentation", "instance_segmentation", "classification"])
def test_contact_sheet_draws_labels_of_every_domain(tiny_manifest, tiny_streets, task):
    names = SEMANTIC_CLASSES if task == "segmentation" else STREET_CLASSES
    figure = contact_sheet(tiny_manifest, tiny_streets, STREET_CLASSES, SEMANTIC_CLASSES, task, images=2)
    titles = [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes]
    assert titles == [f"{name.replace('_', ' ')} ({split})" for name, split in zip(
        tiny_manifest["domain"].unique(), ["train", "test", "test", "test", "test"], strict=True)]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(names)
    drawn = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    bare = tiny_manifest.assign(boxes=[[]] * len(tiny_manifest), labels=[[]] * len(tiny_manifest),
                                difficult=[[]] * len(tiny_manifest), mask="", mask_pixels=[[]] * len(tiny_manifest),
                                instances="", instance_ids=[[]] * len(tiny_manifest), labels_sha256="")
    plain = contact_sheet(bare, tiny_streets, STREET_CLASSES, SEMANTIC_CLASSES, task, images=2)
    assert all((one != np.asarray(axes.images[0].get_array())).any()
               for one, axes in zip(drawn, plain.axes, strict=True))
