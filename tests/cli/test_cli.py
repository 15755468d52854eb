"""The command line: outputs, JSON, exit codes, and one sentence for every known error."""

import json
import re
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

from lookalike import __version__, demo, scenes
from lookalike.cli import app
from lookalike.cli.evaluating import evaluations
from lookalike.cli.printing import print_table
from lookalike.errors import GalleryError
from lookalike.gallery import Gallery
from lookalike.models.embedder import Embedder


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two photographs on disk, of different odd sizes."""
    folder = tmp_path_factory.mktemp("photos")
    first, second, _ = scenes.room_pair(2, size=(147, 211))
    first.image.save(folder / "query room.png")
    second.image.resize((333, 190)).save(folder / "match.jpg")
    return folder / "query room.png", folder / "match.jpg"


@pytest.fixture(scope="module")
def vit_folder(tmp_path_factory):
    """A tiny random ViT, saved."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Embedder.from_timm(
            "vit_tiny_patch16_224",
            pretrained=False,
            pooling="mean",
            input_size=(64, 96),
            embed_dim=24,
            depth=2,
            num_heads=3,
        ).save(folder)
    return folder


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def size_of(path):
    with Image.open(path) as image:
        return image.size


def arrays_of(path):
    with np.load(path) as file:
        return dict(file)


def test_explain_says_how_similar_two_images_are(pair):
    result = run("explain", *pair)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("similarity 0.") and "of mini, residual" in result.stdout
    assert "by shares (layer -1, against its mean color and a blur, and the last layer)" in result.stdout


def test_explain_writes_all_that_is_asked_for(pair, tmp_path):
    maps, out = tmp_path / "maps.npz", tmp_path / "new" / "why.png"
    result = run(
        "explain", *pair, "-o", out, "--overlays", tmp_path / "o", "--lines", tmp_path / "l.webp",
        "--save-maps", maps, "--json",
    )  # fmt: skip
    answer = json.loads(result.stdout)
    assert len(answer["written"]) == 5
    assert size_of(tmp_path / "o" / "query room_simmap_with_match.png") == (211, 147)
    assert size_of(tmp_path / "o" / "match_simmap_with_query room.png") == (333, 190)
    assert size_of(out)[0] > 800
    saved = arrays_of(maps)
    assert saved["query_map"].dtype == saved["match_map"].dtype == np.float32
    assert float(saved["similarity"]) == pytest.approx(answer["similarity"], abs=1e-6)
    assert float(saved["query_map"].sum() + saved["residual"]) == pytest.approx(
        answer["similarity"], abs=1e-5
    )
    np.testing.assert_allclose(answer["query_map"], saved["query_map"], rtol=1e-6)


@pytest.mark.parametrize("options", [("--fusion", "max"), ("--first-layer", "1"), ()])
def test_rollout_options_reach_the_method(options, pair, vit_folder, tmp_path):
    plain, chosen = tmp_path / "plain.npz", tmp_path / "chosen.npz"
    base = ("explain", *pair, "--model", vit_folder, "--method", "rollout", "--save-maps")
    assert run(*base, plain).exit_code == 0
    assert run(*base, chosen, *options).exit_code == 0
    same = np.array_equal(arrays_of(plain)["query_map"], arrays_of(chosen)["query_map"])
    assert same == (not options)
    assert np.isnan(arrays_of(plain)["residual"])  # a heat map has none


@pytest.mark.parametrize(
    ("options", "form"),
    [
        (("--layer", "last"), "the last layer"),
        (("--layer", "-1"), "layer -1, held as it was"),
        (("--layer", "1", "--reference", "blur"), "layer 1, against its blur"),
        (("--reference", "mean", "--with-last"), "layer -1, against its mean color, and the last layer"),
    ],
)
def test_options_of_shares_reach_the_method_and_are_named(options, form, pair):
    result = run("explain", *pair, *options)
    assert result.exit_code == 0, result.output
    assert f"by shares ({form}) of mini" in result.stdout


def test_options_of_shares_that_exclude_each_other_are_refused(pair):
    for options in (("--layer", "last", "--with-last"), ("--reference", "noise"), ("--layer", "top")):
        result = run("explain", *pair, *options)
        assert result.exit_code == 1 and len(result.stderr.strip().splitlines()) == 1


def test_pooling_input_size_and_normalization_replace_the_models_own(pair):
    base = json.loads(run("explain", *pair, "--json").stdout)
    changed = run(
        "explain", *pair, "--json", "--pooling", "max", "--input-size", "96x160", "--normalization", "sop"
    )
    answer = json.loads(changed.stdout)
    assert np.shape(answer["query_map"]) == (6, 10)
    assert answer["similarity"] != base["similarity"]


def test_demo_finds_and_explains(tmp_path):
    result = run("demo", "-o", tmp_path / "demo", "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout[result.stdout.index("{") :])
    html = (tmp_path / "demo" / "report.html").read_text()
    assert answer["n_rooms"] == 36 and len(list((tmp_path / "demo" / "rooms").glob("*.jpg"))) == 36
    whole, part, reranked = answer["searches"]
    assert (
        reranked["best_match"] in html and "http:" not in html and "https:" not in html
    )  # nothing is fetched
    assert html.count("✓ right") + html.count("✗ wrong") == 4 and html.count("✓ right") >= 1
    assert answer["is_picked"] and part["is_true_match"] and not whole["is_true_match"]
    assert sum(reranked["true_ranks"]) <= sum(part["true_ranks"])
    assert min(search["recall_at_1"] for search in answer["searches"]) > 3 * answer["chance"]
    assert answer["peak_in_shared_painting"] and answer["density_ratio"] > 3 and len(part["true_ranks"]) == 2
    assert size_of(tmp_path / "demo" / "why.png")[0] > 800
    found = run("search", tmp_path / "demo" / "rooms" / answer["query"], "-g", answer["gallery"], "--json")
    assert json.loads(found.stdout)["hits"][1]["path"].endswith(whole["best_match"])


def test_demo_again_replaces_its_own_gallery_and_no_other(tmp_path):
    for seed in (0, 1):
        result = demo.run_demo(tmp_path, n_paintings=2, rooms_per_painting=2, seed=seed)
        assert len(Gallery.open(result.gallery)) == 4
    manifest = tmp_path / "rooms.gallery" / "gallery.json"
    manifest.write_text(manifest.read_text().replace("rooms.model", "another"))
    with pytest.raises(GalleryError, match="already"):
        demo.run_demo(tmp_path, n_paintings=2, rooms_per_painting=2)
    assert manifest.exists()


def test_models_lists_the_bundled_one_and_finds_names():
    assert run("models").stdout.startswith("bundled: mini")
    assert run("models", "list", "mini-v").stdout.split()[0] == "mini-vit"
    check_sentence(run("models", "list", "no-such-model"), "no bundled or timm model")
    assert "resnet50" in json.loads(run("models", "list", "resnet50", "--json").stdout)["timm"][0]


def test_models_show_says_what_fits_and_why_not(vit_folder):
    answer = json.loads(run("models", "show", vit_folder, "--json").stdout)
    assert answer["grid"] == [4, 6] and answer["completeness_error"] < 1e-5
    assert all(method["refusal"] is None for method in answer["methods"].values())
    mini = json.loads(run("models", "show", "mini", "--json").stdout)
    assert "transformer" in mini["methods"]["rollout"]["refusal"]


def test_models_make_saves_what_loads(tmp_path, pair):
    made = run(
        "models", "make", "resnet10t", tmp_path / "made", "--random-weights", "--input-size", "64x96",
        "--pooling", "gem", "--squash", "--normalization", "0.5/0.5",
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    loaded = Embedder.load(tmp_path / "made")
    assert loaded.preprocessing.mode == "squash" and loaded.preprocessing.mean == (0.5, 0.5, 0.5)
    assert run("explain", *pair, "--model", tmp_path / "made").exit_code == 0


def png_bomb(path, side):
    """A PNG that claims side x side pixels and holds none."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    )


@pytest.fixture(scope="module")
def bad(tmp_path_factory, pair):
    folder = tmp_path_factory.mktemp("bad")
    (folder / "text.jpg").write_text("this is no picture")
    (folder / "cut.jpg").write_bytes(pair[1].read_bytes()[:2000])
    png_bomb(folder / "bomb.png", 20_000)
    torch.save({"layer.weight": torch.zeros(3, 4)}, folder / "other.pth")
    return folder


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing.jpg", "missing.jpg"),
        ("text.jpg", "text.jpg"),
        ("cut.jpg", "cut.jpg"),
        ("bomb.png", "pixels"),
    ],
)
def test_a_bad_image_is_one_sentence_and_exit_code_1(name, words, bad, pair):
    check_sentence(run("explain", bad / name, pair[1]), words)
    check_sentence(run("explain", pair[0], bad / name), words)


def test_an_image_of_one_pixel_is_refused_and_of_two_explained(tmp_path, pair):
    for name, width in (("one.png", 1), ("two.png", 2)):
        Image.new("RGB", (width, 1), (200, 30, 30)).save(tmp_path / name)
    check_sentence(run("explain", tmp_path / "one.png", pair[1]), "a single pixel")
    result = run("explain", tmp_path / "two.png", pair[1], "-o", tmp_path / "why.png")
    assert result.exit_code == 0, result.output


def test_versus_needs_a_picture_to_draw_to(pair):
    result = run("explain", *pair, "--versus", pair[0])
    assert result.exit_code == 2 and "-o" in result.output


def test_an_option_of_another_method_is_refused(pair):
    check_sentence(run("explain", *pair, "--fusion", "max"), "method 'shares' has no option fusion")


@pytest.mark.parametrize("name", ["x[red]y.png", "IMG :dog: [/d].png"])
def test_file_names_are_printed_as_they_are(name, capsys):
    print_table(("file", "n"), [(name, "1"), ("a" * 200, "2")])
    printed = capsys.readouterr().out
    assert name in printed and "a" * 200 in printed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--model", "resnet5o"), "resnet50"),
        (("--model", "nowhere/model.pth"), "no file"),
        (("--method", "rollout"), "transformer"),
        (("--method", "share"), "method is one of shares, .*did you mean 'shares'"),
        (("--normalization", "bright"), "imagenet"),
        (("--pooling", "median"), "gem"),
        (("--pooling", "cls"), "CLS"),
        (("--colors", "rainbow", "-o", "why.png"), "palette is one of lookalike, jet"),
        (("-o", "why.xyz"), r"\.png"),
    ],
)
def test_a_wrong_choice_is_one_sentence_and_exit_code_1(options, words, pair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_sentence(run("explain", *pair, *options), words)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_another_layout_is_one_sentence(bad, pair):
    check_sentence(run("explain", *pair, "--model", bad / "other.pth"), "layer.weight")


@pytest.mark.parametrize(
    "arguments", [("explain", "one.jpg"), ("explian",), ("explain", "a", "b", "--size", "3")]
)
def test_wrong_usage_is_exit_code_2(arguments):
    assert run(*arguments).exit_code == 2


def commands_of(group, path=()):
    """Every command below a group, with the words that call it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_of(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands_of(typer.main.get_command(app)))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_shows_an_example_and_explains_every_option(words):
    result = run(*words, "--help")
    assert result.exit_code == 0
    name = " ".join(words).replace("evaluate retrieval", "evaluate")
    assert f"Example: lookalike {name}" in " ".join(result.output.split())
    options = [each for each in COMMANDS[words].params if each.param_type_name == "option"]
    assert [each.name for each in options if not each.help] == []


@pytest.mark.parametrize("group", [(), ("gallery",), ("models",)])
def test_no_summary_of_a_command_is_cut_at_80_columns(group):
    output = CliRunner(env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"}).invoke(app, [*group, "--help"]).output
    summaries = output.split("Commands:")[1].strip().splitlines()
    assert len(summaries) >= 3
    assert [line for line in summaries if line.endswith("...")] == []


def test_help_of_evaluate_names_every_other_evaluation():
    output = " ".join(run("evaluate", "--help").output.split())
    assert all(f"`evaluate {name}`" in output for name in evaluations_besides_the_default())


def evaluations_besides_the_default():
    names = [command.name for command in evaluations.registered_commands]
    assert len(names) > 1
    return names[1:]


def check_sentence(result, words):
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    message = result.stderr.strip()
    assert message.startswith("lookalike: ") and len(message.splitlines()) == 1
    assert re.search(words, message), message


def test_the_package_can_be_run_as_a_module():
    asked = [sys.executable, "-m", "lookalike", "--version"]
    assert (
        subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip().endswith(__version__)
    )
