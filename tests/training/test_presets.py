"""Presets against the numbers of the published scripts, each with its line; AVSL's options."""

import csv
import json
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from lookalike.cli import app
from lookalike.cli.training import AVSL_SETTINGS, PRESET_HELP, TRAIN_SETTINGS
from lookalike.models.backbones import create_backbone, level_widths
from lookalike.training import LOSSES, PRESETS, AvslSettings, ModelSpec, preset
from lookalike.training.augmentation import _RATIO

NUMBERS = Path(__file__).parent / "published_numbers.tsv"
ALL = "*"

# Options that no result depends on, or that the data determine.
NO_SETTING = {
    "device": "where it runs",
    "test_batch_size": "only memory",
    "test_split_num": "only memory",
    "delete_old": "of an earlier run's files",
    "num_classes": "counted in the data",
    "splits_to_eval": "the split test decides in every line",
    "k": "neighbors searched, more than any K asked for; ours are all",
}
# Of a line with setting proxy_anchor, which args.csv hands on to no module then.
UNUSED_BY_BASELINES = {
    "feature_dim_list", "avsl_m", "topk_corr", "prob_gamma", "index_p", "loss0_weight", "loss1_weight",
    "loss2_weight", "final_pa_pos_margin", "final_pa_neg_margin", "final_pa_alpha", "use_proxy",
}  # fmt: skip
SETTINGS = {
    "batch_size": "batch_size",
    "wd": "weight_decay",
    "gamma": "step_factor",
    "step": "step_epochs",
    "lr_trunk": "backbone_rate",
    "lr_embedder": "head_rate",
    "warm_up": "warm_up_epochs",
    "interval": "evaluate_every",
    "total_epochs": "epochs",
    "patience": "patience",
    "early_stop_thres": "collapse",
    "max_norm": "clip",
    "p": "flip",
    "m": "images_per_class",
}
OF_AVSL = {
    "avsl_m": "momentum",
    "topk_corr": "top_k",
    "prob_gamma": "sharpness",
    "index_p": "power",
    "pa_pos_margin": "positive_margin",
    "pa_neg_margin": "negative_margin",
    "pa_alpha": "loss_sharpness",
    "final_pa_pos_margin": "final_positive_margin",
    "final_pa_neg_margin": "final_negative_margin",
    "final_pa_alpha": "loss_sharpness",
    "margin_alpha": "margin",
    "margin_beta": "boundary",
    "hardneg_cutoff": "cutoff",
}
DATASETS = {"cub200": "cub200", "cars196": "cars196", "online_products": "sop"}


def published():
    """(preset, source, option, value) of every row; those of all presets for each that has no other."""
    lines = [line for line in NUMBERS.read_text().splitlines() if not line.startswith("#")]
    rows = list(csv.reader(lines, delimiter="\t"))
    names = dict.fromkeys(name for name, *_ in rows if name != ALL)
    said = {(name, option) for name, _, option, _ in rows}
    said |= {(name, "freeze_bn") for name, option in said if option == "not_freeze_bn"}
    everywhere = [
        (name, source, option, value)
        for of, source, option, value in rows
        if of == ALL
        for name in names
        if (name, option) not in said
    ]
    return [tuple(row) for row in rows if row[0] != ALL] + everywhere


def numbers(value):
    return tuple(float(part) for part in value.split())


def loss_of(chosen):
    """The loss of a baseline for 4 classes in 8 dimensions."""
    return LOSSES[chosen.loss].loss(4, 8)


def check(name, option, value):
    """Compare one published option with what the preset makes of it."""
    chosen = preset(name)
    settings, avsl = chosen.settings, chosen.avsl
    if option in SETTINGS:
        assert getattr(settings, SETTINGS[option]) == float(value)
    elif avsl is not None and option in OF_AVSL:
        assert getattr(avsl, OF_AVSL[option]) == float(value)
    elif option in ("loss0_weight", "loss1_weight", "loss2_weight"):
        # With the margin loss the framework's first of four outputs is the final distance, whose weight is 1
        # here; the others are levels 0 to 2, and the last of them has no weight.
        weights = avsl.level_weights if avsl.base == "proxy-anchor" else (1.0, *avsl.level_weights[:2])
        assert weights[int(option[4])] == float(value)
        assert avsl.base == "proxy-anchor" or avsl.level_weights[2] == 1
    elif option == "lr_collector":  # proxies and gates; with the margin loss the gates alone
        rate = settings.gate_rate if avsl and avsl.base == "margin" else settings.loss_rate
        assert rate == float(value)
    elif option == "lr_loss":
        assert settings.loss_rate == float(value)
    elif option == "setting":
        expected = {"avsl_proxyanchor": (True, "proxy-anchor"), "proxy_anchor": (False, chosen.loss)}[value]
        assert (avsl is not None, avsl.base if avsl else chosen.loss) == expected
        assert "proxy-anchor" in expected[1]
    elif option == "use_proxy":
        assert avsl.base == "proxy-anchor"
    elif option == "feature_dim_list":
        assert level_widths(create_backbone(chosen.model.split(".")[0])) == numbers(value)
    elif option == "embeddings_dim":
        assert chosen.dims == int(value)
    elif option == "dataset":
        assert name.startswith(f"{DATASETS[value]}-")
    elif option == "model":
        assert f"-{value}" in name and chosen.model.startswith(value)
    elif option == "warm_up_list":
        assert value == "embedder collector"  # all but the trunk, as our warm-up
    elif option in ("freeze_bn", "not_freeze_bn"):
        assert settings.freeze_batch_norm == (option == "freeze_bn")
    elif option == "k_list":
        assert settings.recalls == numbers(value)
    elif option == "eval_exclude":
        assert value == "NMI AMI f1_score" and not settings.clustering
    elif option == "optimizer":
        assert settings.optimizer == value.lower()
    elif option == "scheduler":
        assert (settings.schedule, value) == ("step", "StepLR")
    elif option == "resize":
        assert [side / settings.crop_pct for side in settings.input_size] == [float(value)] * 2
    elif option == "size":
        assert settings.input_size == (int(value),) * 2
    elif option == "scale":
        assert settings.crop_area == numbers(value)
    elif option == "ratio":
        assert numbers(value) == pytest.approx(_RATIO, abs=0.004)  # 4/3 is written as 1.33
    elif option in ("pa_pos_margin", "pa_neg_margin", "pa_alpha"):
        loss = loss_of(chosen)
        ours = {"pos": loss.positive_margin, "neg": loss.negative_margin, "alpha": loss.sharpness}
        assert ours[option.split("_")[1]] == float(value) and not loss.is_squared
    elif option == "proxyanchor_margin":  # of cosines: d² = 2 - 2 cos
        loss = loss_of(chosen)
        margins = (loss.positive_margin, loss.negative_margin)
        assert margins == pytest.approx((2 - 2 * float(value), 2 + 2 * float(value))) and loss.is_squared
    elif option == "proxyanchor_alpha":
        assert 2 * loss_of(chosen).sharpness == float(value)
    elif option == "margin_alpha":
        assert loss_of(chosen).margin == float(value)
    elif option == "margin_beta":
        assert loss_of(chosen).boundaries.tolist() == pytest.approx([float(value)] * 4)
    elif option == "hardneg_cutoff":
        assert loss_of(chosen).cutoff == float(value)
    else:
        raise AssertionError(f"nothing of ours stands for {option}")


@pytest.mark.parametrize("row", published(), ids=lambda row: f"{row[0]}, {row[1]}, {row[2]}")
def test_every_published_number_is_that_of_its_preset(row):
    name, _source, option, value = row
    if option in NO_SETTING or (preset(name).avsl is None and option in UNUSED_BY_BASELINES):
        return
    check(name, option, value)


def test_the_table_covers_both_scripts():
    lines = {}
    for name, source, option, _ in published():
        if source.startswith("samples_"):
            lines.setdefault((name, source), set()).add(option)
    assert {source: len(options) for (_, source), options in lines.items()} == {
        "samples_avsl.sh:2": 32, "samples_avsl.sh:6": 32, "samples_avsl.sh:10": 38,
        "samples_baseline.sh:2": 19, "samples_baseline.sh:6": 19, "samples_baseline.sh:10": 39,
    }  # fmt: skip


def test_the_second_backbone_has_the_numbers_of_the_first():
    for name, chosen in PRESETS.items():
        other = preset(name.replace("resnet50", "bninception"))
        assert (other.settings, other.avsl, other.loss) == (chosen.settings, chosen.avsl, chosen.loss)
        assert chosen.model == ("resnet50.tv_in1k" if "resnet50" in name else "bninception")
    assert len(PRESETS) == 3 * 2 * 4


def test_baselines_pool_by_average_plus_maximum():
    baselines = [chosen for name, chosen in PRESETS.items() if name.endswith("-baseline")]
    assert len(baselines) == 12
    assert all(chosen.pooling == "avgmax" and chosen.avsl is None for chosen in baselines)


def test_the_learning_rates_of_cars_fall_after_the_warm_up():
    """As the framework's schedulers, which rest in it: once every 5 of the epochs from the 6th on."""
    settings = preset("cars196-resnet50").settings
    taken = [max(epoch - settings.warm_up_epochs, 0) // settings.step_epochs for epoch in range(61)]
    assert taken[:10] == [0] * 10 and taken[10] == 1 and taken[60] == 11


def test_the_help_says_how_presets_are_named():
    for part in {part for name in PRESETS for part in name.split("-", 2)}:
        assert part in PRESET_HELP
    assert {*AVSL_SETTINGS, "base"} == {field.name for field in fields(AvslSettings)}
    assert not set(AVSL_SETTINGS) & set(TRAIN_SETTINGS)


def test_the_parameters_that_learn_are_those_of_the_published_code():
    """A ResNet-50 has 53 BatchNorms: with them frozen 53 convolutions learn, else 106 tensors more."""
    from lookalike.models.loading import from_timm
    from lookalike.training.loop import _freeze
    from lookalike.training.trainable import TrainableEmbedding

    for name, n_learning in (("cub200-resnet50-baseline", 53), ("sop-resnet50-baseline", 53 + 106)):
        start = from_timm("resnet50", pretrained=False, pooling="avgmax", input_size=(64, 64))
        model = TrainableEmbedding.of(start, dims=4)
        _freeze(model, preset(name).settings)
        assert sum(p.requires_grad for p in model.backbone.parameters()) == n_learning


@pytest.mark.parametrize("power", [2, 1])
def test_the_baselines_proxy_anchor_is_the_formula_on_distances(power, noise):
    loss = LOSSES["proxy-anchor-avsl" if power == 2 else "proxy-anchor-avsl-sop"].loss(3, 6)
    embeddings, labels = noise(7, 6), torch.tensor([0, 0, 1, 2, 2, 0, 1])
    units = [torch.nn.functional.normalize(x.detach(), dim=1) for x in (embeddings, loss.proxies)]
    d = torch.cdist(*units) ** power
    negative_margin = 2.2 if power == 2 else 2.4
    expected = 0.0
    for c in range(3):
        own = labels == c
        expected += torch.log1p(torch.exp(16 * (d[own, c] - 1.8)).sum()) / 3
        expected += torch.log1p(torch.exp(16 * (negative_margin - d[~own, c])).sum()) / 3
    torch.testing.assert_close(loss(embeddings, labels).detach(), expected, rtol=1e-4, atol=1e-4)
    assert float(loss.proxies.detach().abs().max()) <= 6**-0.5


def test_the_squared_form_is_kims_loss_on_cosines(noise):
    from pytorch_metric_learning import losses

    ours = LOSSES["proxy-anchor-avsl"].loss(3, 6)
    kims = losses.ProxyAnchorLoss(3, 6, margin=0.1, alpha=32)
    kims.proxies.data = ours.proxies.data
    embeddings, labels = noise(7, 6), torch.tensor([0, 0, 1, 2, 2, 0, 1])
    torch.testing.assert_close(ours(embeddings, labels), kims(embeddings, labels), rtol=1e-4, atol=1e-4)


def test_the_baselines_margin_takes_the_nearest_negative_beyond_the_cutoff(noise):
    loss = LOSSES["margin-avsl"].loss(2, 4)
    places = torch.tensor([0.0, 0.02, 0.03, 0.9])  # angles: the third is near, the fourth beyond 0.5
    embeddings = torch.stack([places.cos(), places.sin()], dim=1)
    labels = torch.tensor([0, 0, 1, 1])
    d = torch.cdist(embeddings, embeddings)
    own = float(d[2, 3])
    # cutoff 0.5: from 0 and 1 the first of the negatives, as both are clamped only if nearer than 0.5
    positives = [float(d[0, 1]), float(d[1, 0]), own, own]
    negatives = [float(d[0, 2]), float(d[1, 2]), float(d[2, 0]), float(d[3, 1])]
    terms = [max(0.2 + p - 1.2, 0) for p in positives] + [max(0.2 - n + 1.2, 0) for n in negatives]
    expected = sum(terms) / sum(t > 0 for t in terms)
    assert float(loss(embeddings, labels).detach()) == pytest.approx(expected, rel=1e-5)


def test_an_unknown_preset_is_named_with_those_there_are():
    with pytest.raises(ValueError, match=r"cub200-resnet50.*'cub'"):
        preset("cub")


def test_what_is_trained_survives_json():
    spec = ModelSpec(model="resnet18", avsl=AvslSettings(top_k=7, level_weights=(1.0, 2.0, 3.0)))
    assert ModelSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert ModelSpec.from_dict({"model": "mini"}).avsl is None
    with pytest.raises(ValueError, match="dims"):
        ModelSpec(dims=0, avsl=AvslSettings())


def run(*arguments):
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


def test_a_training_from_the_command_line(colored, tmp_path):
    small = ["--epochs", 1, "--batch-size", 8, "--dims", 8, "--input-size", 64, "--warm-up-epochs", 0]
    out = tmp_path / "m"
    result = run(colored, "--avsl", "--loss", "margin", *small, "--set", "top_k=3", "-o", out, "--json")
    assert result.exit_code == 0, result.output
    record = json.loads((out / "training.json").read_text())
    assert record["description"]["avsl"]["base"] == "margin"
    assert record["settings"]["images_per_class"] == 4
    assert json.loads((out / "config.json").read_text())["graph"]["top_k"] == 3


@pytest.mark.parametrize(("options", "reason"), [
    (["--set", "top_k=3"], "settings of AVSL"),
    (["--avsl", "--loss", "triplet"], "proxy-anchor or margin"),
    (["--preset", "birds"], "cub200-resnet50"),
    (["--avsl", "--preset", "cub200-resnet50-baseline"], "a baseline without AVSL"),
    (["-k", "1,x"], "positive integers"),
    (["--avsl", "--set", "level_weights=[1,2]"], "level_weights"),
])  # fmt: skip
def test_what_does_not_fit_is_a_sentence_and_nothing_is_written(options, reason, colored, tmp_path):
    result = run(colored, *options, "-o", tmp_path / "m")
    assert result.exit_code in (1, 2)
    assert reason in " ".join(result.output.split())
    assert not (tmp_path / "m").exists()
