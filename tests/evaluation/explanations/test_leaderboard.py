"""The leaderboard on a model whose truth is known: it sees nothing but one quadrant of each picture."""

import json
import time

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from lookalike.datasets.pairs import ImagePair, KnownImage
from lookalike.errors import DatasetError, LookalikeError, UnknownNameError, UnsupportedMethodError
from lookalike.evaluation.explanations import (
    MEASURES,
    ExplanationRow,
    ExplanationScores,
    MapMethod,
    best_rows,
    evaluate_explanations,
    make_method,
    split_methods,
)
from lookalike.evaluation.explanations.methods import BoundMethod
from lookalike.evaluation.explanations.subjects import Subject, as_reading
from lookalike.images import Preprocessing
from made_classes import tiny_cnn, tiny_vit

FAST = (
    "aid-mean", "aid-blur", "aid-swap", "aid-both", "aid-pixels", "insertion", "deletion", "drop", "fit-r2",
    "fit-spearman", "peak", "mass", "mask-auc", "right-wrong-auc", "dependence",
)  # fmt: skip


class Quadrant:
    """Embeds the pixels of the upper left quadrant, and counts what it embeds."""

    name = "quadrant"
    preprocessing = Preprocessing("squash", (48, 64), interpolation="bilinear")

    def __init__(self):
        self.n_embedded = 0

    def embed(self, sources):
        self.n_embedded += len(sources)
        quadrants = np.stack([np.asarray(source, np.float32)[:24, :32] for source in sources])
        values = torch.from_numpy(quadrants).flatten(1) / 255 - 0.5
        return F.normalize(torch.cat([values, torch.full((len(values), 1), 0.2)], 1), dim=1)


def oracle(query, match):
    """The quadrant, and that one alone."""
    return [np.pad(np.ones((p.height // 2, p.width // 2)), ((0, p.height // 2), (0, p.width // 2)))
            for p in (query, match)]  # fmt: skip


def inverted(query, match):
    maps = [-values for values in oracle(query, match)]
    for values in maps:
        values[-3:, -3:] = 0.5  # the peak, far from the quadrant
    return maps


def of_match(query, match):
    """A map that changes with the match."""
    return [np.asarray(p.convert("L"), float)[:24, :32] for p in (match, query)]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return quadrant_pairs(tmp_path_factory.mktemp("pairs"))


def quadrant_pairs(folder):
    """Pairs of three labels that share fine noise in the quadrant, under a coarse pattern of their own."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(6):
        shared = rng.uniform(25, 230, (24, 32, 3))
        sides = []
        for side in "ab":
            pixels = rng.integers(0, 256, (48, 64, 3))
            own = rng.uniform(-25, 25, (2, 2, 3)).repeat(12, 0).repeat(16, 1)  # stays when all is blurred
            pixels[:24, :32] = shared + own
            mask = np.zeros((48, 64), np.uint8)
            mask[:24, :32] = 255
            files = folder / f"{i}{side}.png", folder / f"{i}{side}-mask.png"
            Image.fromarray(pixels.astype(np.uint8)).save(files[0])
            Image.fromarray(mask).save(files[1])
            sides.append(KnownImage(files[0], f"label {i % 3}", files[1]))
        found.append(ImagePair(*sides, "quadrants", root=folder))
    return found


@pytest.fixture(scope="module")
def scores(pairs):
    methods = [oracle, inverted, of_match, "random", "center", "occlusion", "shares"]
    return evaluate_explanations(pairs, [Quadrant()], methods, measures=FAST, reference="random")


def value(scores, method, measure, model="quadrant"):
    row = scores.row(model, method, measure)
    return None if row is None else row.value


@pytest.mark.parametrize(
    "measure", ["aid-mean", "aid-blur", "aid-swap", "aid-both", "aid-pixels", "insertion"]
)
def test_the_map_of_the_truth_is_the_most_faithful_and_its_opposite_the_least(scores, measure):
    others = [value(scores, m, measure) for m in ("random", "center", "of_match")]
    assert value(scores, "oracle", measure) > max(others)
    assert value(scores, "inverted", measure) < min(others)
    assert value(scores, "occlusion", measure) > max(others)  # which asks the model


def test_the_maps_of_truth_and_random_have_the_areas_that_follow(scores):
    """All is lost when the first quarter of the cells is hidden, and back when it is shown."""
    assert value(scores, "oracle", "aid-mean") == pytest.approx(0.75, abs=0.08)
    assert value(scores, "inverted", "aid-mean") == pytest.approx(-0.75, abs=0.08)
    assert abs(value(scores, "random", "aid-mean")) < 0.2
    assert value(scores, "oracle", "deletion") < 0.25 < value(scores, "random", "deletion")


def test_sums_of_the_truth_follow_the_similarity_and_those_of_its_opposite_run_against_it(scores):
    assert value(scores, "oracle", "fit-spearman") > 0.5 and value(scores, "inverted", "fit-spearman") < -0.5
    assert 0.5 < value(scores, "oracle", "fit-r2") <= 1 and value(scores, "random", "fit-r2") < 0.2


def test_nothing_is_lost_when_the_quadrant_is_kept(scores):
    assert value(scores, "oracle", "drop") < 0.1 < value(scores, "inverted", "drop")


def test_one_measure_alone_has_the_value_that_it_has_among_all(pairs, scores):
    alone = evaluate_explanations(pairs, [Quadrant()], [oracle], measures=["insertion"])
    assert [row.measure for row in alone.rows] == ["insertion"]
    assert value(alone, "oracle", "insertion") == value(scores, "oracle", "insertion")


def test_a_map_that_is_focused_for_true_matches_only_tells_them_from_false_ones(pairs):
    def focused(query, match):
        a, b = (np.asarray(p, float)[:24, :32].ravel() for p in (query, match))
        is_true = np.corrcoef(a, b)[0, 1] > 0.5
        return oracle(query, match) if is_true else [np.ones((4, 4))] * 2

    found = evaluate_explanations(pairs, [Quadrant()], [focused], measures=["right-wrong-auc", "dependence"])
    assert value(found, "focused", "right-wrong-auc") == 1
    assert value(found, "focused", "dependence") == 1


def test_the_masks_know_the_quadrant(scores):
    # A quarter of the area, and 6.5 of 13 columns, of which half of one is spread over a cell.
    assert value(scores, "oracle", "mass") == pytest.approx(4 * 6.25 / 6.5)
    assert value(scores, "inverted", "mass") == 0
    assert value(scores, "oracle", "mask-auc") > 0.95 and value(scores, "oracle", "peak") == 1
    assert value(scores, "inverted", "mask-auc") < 0.05 and value(scores, "inverted", "peak") == 0
    assert value(scores, "random", "mask-auc") == pytest.approx(0.5, abs=0.15)


def test_a_map_that_ignores_the_match_has_no_dependence(scores):
    assert value(scores, "oracle", "dependence") == pytest.approx(0, abs=1e-9)
    assert value(scores, "center", "dependence") == pytest.approx(0, abs=1e-9)
    assert value(scores, "of_match", "dependence") > 0.3


def test_a_method_that_does_not_fit_is_refused_and_has_no_rows(scores):
    (refusal,) = scores.refusals
    assert (refusal.model, refusal.method) == ("quadrant", "shares")
    assert "only returns embeddings" in refusal.reason
    assert not [row for row in scores.rows if row.method == "shares"]


def test_rows_are_flat_and_their_intervals_hold_the_value(scores):
    rows = json.loads(json.dumps(scores.to_dict()))["rows"]
    assert rows
    for row in rows:
        assert list(row) == ["model", "method", "measure", "value", "low", "high", "pairs"]
        assert row["low"] <= row["value"] <= row["high"] and 1 <= row["pairs"] <= 6
        assert row["measure"] in FAST


def test_the_truth_differs_from_random_and_significantly(scores):
    found = {(d.method, d.measure): d for d in scores.differences}
    difference = found["oracle", "aid-mean"]
    assert difference.reference == "random" and difference.pairs == 6
    expected = value(scores, "oracle", "aid-mean") - value(scores, "random", "aid-mean")
    assert difference.value == pytest.approx(expected)
    assert difference.low > 0 and difference.p_value < 0.05
    assert ("random", "aid-mean") not in found


def test_curves_run_from_nothing_to_everything(scores):
    curves = {(c.method, c.measure): c for c in scores.curves}
    curve = curves["oracle", "aid-blur"]
    assert len(curve.insertion) == len(curve.deletion) == 9
    assert curve.insertion[0] == pytest.approx(0, abs=1e-4) and curve.insertion[-1] == pytest.approx(1)
    assert curve.deletion[0] == pytest.approx(1) and curve.deletion[-1] == pytest.approx(0, abs=1e-4)


def test_the_same_seed_gives_the_same_rows(pairs, scores):
    methods = [oracle, inverted, of_match, "random", "center", "occlusion", "shares"]
    again = evaluate_explanations(pairs, [Quadrant()], methods, measures=FAST, reference="random")
    assert again.to_dict() == scores.to_dict()
    other = evaluate_explanations(pairs, [Quadrant()], ["random"], measures=["aid-mean"], seed=1)
    assert value(other, "random", "aid-mean") != value(scores, "random", "aid-mean")


# --- runs that are interrupted --------------------------------------------------------------------


def test_an_interrupted_run_goes_on_where_it_was(pairs, tmp_path):
    methods, measures = [oracle, "random"], ["aid-mean", "dependence"]
    whole = evaluate_explanations(pairs, [Quadrant()], methods, measures=measures, reference="random")
    calls = []

    def failing(query, match):
        calls.append(query)
        if len(calls) > 5:
            raise KeyboardInterrupt
        return oracle(query, match)

    failing.__name__ = "oracle"
    with pytest.raises(KeyboardInterrupt):
        evaluate_explanations(
            pairs, [Quadrant()], [failing, "random"], measures=measures, reference="random", run=tmp_path
        )
    scored = tmp_path / "scores.jsonl"
    n_done = len(scored.read_text().splitlines())
    assert 0 < n_done < 12
    scored.write_text(scored.read_text() + '{"key": ["torn')
    asked = []

    def counted(query, match):
        asked.append(query)
        return oracle(query, match)

    counted.__name__ = "oracle"
    resumed = evaluate_explanations(
        pairs, [Quadrant()], [counted, "random"], measures=measures, reference="random", run=tmp_path
    )
    assert resumed.to_dict() == whole.to_dict()
    assert len(asked) == 2 * (6 - -(-n_done // 2))  # the true and the false match of what was left
    assert len(scored.read_text().splitlines()) == 12


def test_a_finished_run_computes_nothing_and_missing_measures_are_added(pairs, tmp_path):
    first = Quadrant()
    evaluate_explanations(pairs, [first], ["random"], measures=["aid-mean"], run=tmp_path)
    again = Quadrant()
    found = evaluate_explanations(pairs, [again], ["random"], measures=["aid-mean"], run=tmp_path)
    n_examples = 2 * len(pairs)
    assert again.n_embedded <= 1 + n_examples < first.n_embedded  # its fingerprint, and examples to look at
    more = evaluate_explanations(pairs, [Quadrant()], ["random"], measures=["aid-mean", "mass"], run=tmp_path)
    assert [row for row in more.rows if row.measure == "aid-mean"] == list(found.rows)
    assert more.row("quadrant", "random", "mass") is not None


def test_a_folder_of_another_run_is_refused(pairs, tmp_path):
    evaluate_explanations(pairs, [Quadrant()], ["center"], measures=["mass"], run=tmp_path)
    with pytest.raises(DatasetError, match="seed 0 instead of 1"):
        evaluate_explanations(pairs, [Quadrant()], ["center"], measures=["mass"], run=tmp_path, seed=1)
    with pytest.raises(DatasetError, match="n_pairs 6 instead of 5"):
        evaluate_explanations(pairs[:5], [Quadrant()], ["center"], measures=["mass"], run=tmp_path)
    with pytest.raises(DatasetError, match="holds a run with pairs "):
        evaluate_explanations(pairs[::-1], [Quadrant()], ["center"], measures=["mass"], run=tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [("settings.json", "[]", "holds no settings"), ("settings.json", "{", "can't be read"),
     ("scores.jsonl", '{"key": ["a", "b", "c"], "values": {}}\n', "line 1 .* damaged"),
     ("scores.jsonl", '{"key": [1, 2, 3], "values": {}, "curves": {}, "maps": [1]}\n', "line 1 .* damaged"),
     ("scores.jsonl", b"\xff\n", "can't be read")],
)  # fmt: skip
def test_a_damaged_folder_is_refused_in_a_sentence(pairs, tmp_path, name, text, words):
    run = {"measures": ["mass"], "run": tmp_path}
    evaluate_explanations(pairs, [Quadrant()], ["center"], **run)
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DatasetError, match=words):
        evaluate_explanations(pairs, [Quadrant()], ["center"], **run)


def test_a_reference_that_takes_no_part_is_refused(pairs):
    with pytest.raises(UnknownNameError, match="reference is one of center, random; got 'centre'"):
        evaluate_explanations(
            pairs, [Quadrant()], ["center", "random"], measures=["mass"], reference="centre"
        )


# --- methods and models ---------------------------------------------------------------------------


def test_options_of_methods_are_not_split_from_them():
    assert split_methods("a:x=1,y=2, b ,c.py:f") == ["a:x=1,y=2", "b", "c.py:f"]
    assert split_methods("occlusion:cells=4") == ["occlusion:cells=4"]


@pytest.mark.parametrize(
    ("given", "words"),
    [("sharse", "did you mean 'shares'"), ("random:x=1", "takes no options"),
     ("occlusion:4", "name=value"), ("missing.py:f", "no file missing.py")],
)  # fmt: skip
def test_unknown_methods_are_refused_in_a_sentence(given, words):
    with pytest.raises(UnknownNameError, match=words):
        make_method(given)


def test_unknown_measures_are_listed(pairs):
    with pytest.raises(UnknownNameError, match="did you mean 'aid-mean'"):
        evaluate_explanations(pairs, [Quadrant()], ["center"], measures=["aid-maen"])


def test_a_strangers_method_and_a_strangers_model_stand_in_the_same_table(pairs, tmp_path):
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    nodes = [
        onnx.helper.make_node("AveragePool", ["x"], ["m"], kernel_shape=[16, 16], strides=[16, 16]),
        onnx.helper.make_node("Flatten", ["m"], ["y"]),
    ]
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", *shape])
        for name, shape in (("x", (3, 48, 64)), ("y", (36,)))
    ]
    graph = onnx.helper.make_graph(nodes, "means", ends[:1], ends[1:])
    opset = [onnx.helper.make_opsetid("", 13)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "means.onnx")
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "def bright(query, match, model):\n"
        "    return [np.asarray(p.convert('L'), float) for p in (query, match)]\n"
    )
    method = f"{tmp_path}/mine.py:bright"
    models = [str(tmp_path / "means.onnx"), tiny_cnn()]
    found = evaluate_explanations(pairs[:3], models, [method, "shares"], measures=["aid-mean", "mass"])
    assert {(row.model, row.method) for row in found.rows} == {
        ("means.onnx", method), ("resnet10t", method), ("resnet10t", "shares")}  # fmt: skip
    assert [(r.model, r.method) for r in found.refusals] == [("means.onnx", "shares")]


@pytest.mark.parametrize(
    ("function", "words"),
    [(lambda query: None, "should take"), (lambda a, b: [np.ones(3), np.ones(3)], "two finite arrays"),
     (lambda a, b: None, "two finite arrays.*got NoneType"), (lambda a, b: np.ones((2, 3)), "got 2 of sh"),
     (lambda a, b: [[[1.0, 2.0], [3.0]]] * 2, "got list"), (lambda a, b: [np.ones((0, 3))] * 2, "shapes"),
     (lambda a, b: [np.full((2, 3), np.nan)] * 2, "got 12 cells that are NaN")],
)  # fmt: skip
def test_a_function_that_returns_no_maps_is_refused(pairs, function, words):
    with pytest.raises(ValueError, match=words):
        evaluate_explanations(pairs, [Quadrant()], [function], measures=["aid-mean"])


def test_a_function_that_fails_is_named_with_its_pair_and_what_was_done_stays(pairs, tmp_path):
    def failing(query, match):
        if len((tmp_path / "scores.jsonl").read_text().splitlines()) == 3:
            raise ZeroDivisionError("by nothing")
        return oracle(query, match)

    with pytest.raises(LookalikeError, match=r"failing failed on .*ZeroDivisionError: by nothing; repair it"):
        evaluate_explanations(pairs, [Quadrant()], ["center", failing], measures=["mass"], run=tmp_path)
    assert len((tmp_path / "scores.jsonl").read_text().splitlines()) == 3


def test_a_method_whose_maps_are_not_finite_is_refused_and_the_others_go_on(pairs):
    def bind(subject):
        center = make_method("center").bind(subject).explain

        def explain(query, match):
            found = center(query, match)
            found.query.values[0, 0] = np.nan
            return found

        return BoundMethod(explain)

    methods = [MapMethod("broken", "broken", bind), "center"]
    found = evaluate_explanations(pairs, [Quadrant()], methods, measures=["mass", "fit-r2"])
    assert [refusal.method for refusal in found.refusals] == ["broken"]
    assert "not finite for 0a.png and 0b.png" in found.refusals[0].reason
    assert {row.method for row in found.rows} == {"center"}


def test_a_method_that_refuses_a_later_pair_keeps_its_rows_of_the_others(pairs):
    def bind(subject):
        center = make_method("center").bind(subject).explain

        def explain(query, match):
            if query.picture.name.endswith("1a.png"):
                raise UnsupportedMethodError("not this pair")
            return center(query, match)

        return BoundMethod(explain)

    methods = [MapMethod("choosy", "choosy", bind), "center"]
    found = evaluate_explanations(pairs, [Quadrant()], methods, measures=["mass"])
    n_pairs = {row.method: row.pairs for row in found.rows}
    assert n_pairs["choosy"] == n_pairs["center"] - 1 > 1
    assert [refusal.reason for refusal in found.refusals] == ["not this pair"]


def test_a_run_is_not_gone_on_with_when_an_image_was_replaced(tmp_path):
    pairs = quadrant_pairs(tmp_path)
    evaluate_explanations(pairs, [Quadrant()], ["center"], measures=["mass"], run=tmp_path)
    pairs[0].query.path.write_bytes(pairs[1].query.path.read_bytes())
    with pytest.raises(DatasetError, match="holds a run with pairs"):
        evaluate_explanations(pairs, [Quadrant()], ["center"], measures=["mass"], run=tmp_path)


def test_an_image_that_cannot_be_read_is_named_with_what_to_do(tmp_path):
    pairs = quadrant_pairs(tmp_path)
    pairs[1].match.path.write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"1b.png.*repair the file, or take its pairs out"):
        evaluate_explanations(pairs, [Quadrant()], ["center"], measures=["mass"])


def test_random_maps_of_images_of_one_name_differ(tmp_path):
    """HPatches calls the images of every sequence 1.ppm, 2.ppm, ..."""
    subject, maps = Subject(Quadrant()), []
    for label in ("v_boat", "i_dome"):
        (tmp_path / label).mkdir()
        for name in ("1.png", "2.png"):
            Image.new("RGB", (64, 48)).save(tmp_path / label / name)
        sides = [subject.seen(KnownImage(tmp_path / label / name, label)) for name in ("1.png", "2.png")]
        explain = make_method("random").bind(subject).explain
        maps.append(explain(sides[0].reading, sides[1].reading).query_map)
    assert not np.array_equal(*maps)


def test_only_a_parameter_without_a_default_is_given_the_model():
    def with_options(query, match, size=3, *, depth=2):
        return [np.full((size, depth), 1.0)] * 2

    def with_model(query, match, model, size=3):
        return [np.full((size, len(model.name)), 1.0)] * 2

    subject = Subject(Quadrant())
    reading = as_reading(np.zeros((48, 64, 3), np.uint8), "a.png")
    shapes = [make_method(each).bind(subject).explain(reading, reading).query.grid
              for each in (with_options, with_model)]  # fmt: skip
    assert shapes == [(3, 2), (3, len("quadrant"))]


def test_an_option_of_another_kind_is_refused_in_a_sentence():
    with pytest.raises(UnknownNameError, match=r"'rise' can't take \{'masks': 'many'\}"):
        make_method("rise:masks=many").bind(Subject(Quadrant()))


def test_the_best_of_a_column_rests_on_the_most_pairs():
    def row(method, value, pairs, measure="mass"):
        return ExplanationRow("m", method, measure, value, value, value, pairs)

    few, good, bad, control = row("few", 9, 3), row("good", 2, 8), row("bad", 1, 8), row("random", 5, 8)
    low, high = row("good", 1, 8, "drop"), row("bad", 2, 8, "drop")
    scores = ExplanationScores((few, bad, good, control, high, low), (), (), (), ())
    assert best_rows(scores) == {good, low}


def test_shares_keep_their_sum_and_ignore_where_query_and_match_stand(pairs):
    measures = ["exactness", "residual", "swap-error", "sanity", "sensitivity", "right-wrong-auc", "fit-r2"]
    methods = ["shares", "gradcam", "random", "feature-norm"]
    found = evaluate_explanations(pairs, [tiny_vit()], methods, measures=measures)
    model = found.models[0]
    assert value(found, "shares", "exactness", model) < 1e-4
    assert value(found, "shares", "residual", model) < 1e-4
    assert value(found, "gradcam", "exactness", model) is None
    assert value(found, "shares", "swap-error", model) < 1e-4
    assert value(found, "shares", "sensitivity", model) > 0
    assert value(found, "random", "sensitivity", model) == 0  # the same numbers for the same pair
    assert value(found, "shares", "sanity", model) > 0.001  # weights of chance mix little
    assert value(found, "random", "sanity", model) is None  # it knows of no weights
    assert value(found, "feature-norm", "right-wrong-auc", model) == 0.5  # it ignores the match
    assert 0 <= value(found, "shares", "fit-r2", model) <= 1


def test_cost_is_measured_in_forward_passes(pairs):
    def slow(query, match):
        time.sleep(0.1)
        return oracle(query, match)

    found = evaluate_explanations(
        pairs[:1], [Quadrant()], [slow, "center"],
        measures=["cost-pair", "cost-pair-ms", "cost-100", "memory-mb"],
    )  # fmt: skip
    assert value(found, "slow", "cost-pair-ms") > 100
    assert value(found, "slow", "cost-pair") > value(found, "center", "cost-pair") > 0
    assert value(found, "center", "cost-100") == pytest.approx(100 * value(found, "center", "cost-pair"))
    assert value(found, "center", "cost-pair-ms") > 0


def test_all_measures_are_taken_that_data_and_method_allow(pairs):
    found = evaluate_explanations(pairs[:2], [Quadrant()], ["center"])
    impossible = {"exactness", "residual", "sanity"}  # of a heat map that knows no weights
    without_truth = {"pck", "homography-hit"}
    assert {row.measure for row in found.rows} >= set(MEASURES) - impossible - without_truth - {"memory-mb"}
    assert not {row.measure for row in found.rows} & (impossible | without_truth)


def test_weights_are_shuffled_from_the_top_and_only_in_a_copy():
    embedder = tiny_vit()
    before, subject = embedder.fingerprint(), Subject(embedder)
    changed = {}
    for whole in (False, True):
        network = subject.randomized(whole=whole, seed=0).model.network
        weights = [block.attn.qkv.weight for block in network.backbone.model.blocks]
        own = [block.attn.qkv.weight for block in embedder.network.backbone.model.blocks]
        changed[whole] = [not torch.equal(a, b) for a, b in zip(weights, own, strict=True)]
        for a, b in zip(weights, own, strict=True):
            torch.testing.assert_close(a.flatten().sort().values, b.flatten().sort().values)
    assert changed == {False: [False, True], True: [True, True]}
    assert embedder.fingerprint() == before
