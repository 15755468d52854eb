from copy import deepcopy

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from lookalike.errors import UnknownNameError
from lookalike.ops.reranking import augment_database, expand
from lookalike.ops.transport import transport_votes
from lookalike.rerankers import (
    Chain,
    ContextualReranking,
    DatabaseAugmentation,
    Diffusion,
    KReciprocal,
    QueryExpansion,
    SharesReranking,
    SuperGlobal,
    TransportReranking,
    first_stage,
    full_ranks,
    make_reranker,
)
from lookalike.rerankers.base import first_then_rest
from lookalike.rerankers.shares import matched_similarity
from lookalike.types import Geometry, Shares

Q, G, D = 5, 43, 11


def shares_of(values):
    return Shares(values, torch.zeros(values.shape[1]), (2, 3), Geometry((20, 30), (20, 30), (0, 0, 20, 30)))


def shares_reranker(method=SharesReranking):
    """Shares of anything: seeded, six positions each."""

    def make(offset):
        def shares(i):
            generator = torch.Generator().manual_seed(offset + i)
            return shares_of(torch.randn(6, 4, generator=generator))

        return shares

    return method(make(1000), make(0), n=7)


ALL = [
    QueryExpansion(),
    QueryExpansion(n=50, alpha=0),
    DatabaseAugmentation(),
    KReciprocal(k1=6, k2=3),
    KReciprocal(k1=20, k2=6),
    KReciprocal(k1=6, k2=3, joint=True),
    Diffusion(),
    Diffusion(n=100, n_seeds=100),
    SuperGlobal(),
    SuperGlobal(n=3, beta=0.5, n_first=8),
    ContextualReranking(),
    ContextualReranking(n_explained=3),
    shares_reranker(),
    shares_reranker(TransportReranking),
    Chain([DatabaseAugmentation(), QueryExpansion(), KReciprocal(k1=5)]),
]
OF_CELLS = ("shares", "transport")  # which ask for the shares of a row
contract = pytest.mark.parametrize("reranker", ALL, ids=lambda r: r.name)


@pytest.fixture
def vectors(noise):
    centers = noise(6, D, seed=2)
    return tuple(centers[torch.arange(n) % 6] + 0.8 * noise(n, D, seed=n) for n in (Q, G))


@pytest.fixture
def ranking(vectors):
    return first_stage(*vectors, k=17)


@contract
def test_a_reranking_keeps_every_item_and_sorts_its_scores(reranker, ranking):
    after = reranker(ranking)
    assert torch.equal(after.indices.sort().values, ranking.indices.sort().values)
    assert (after.scores.diff(dim=1) <= 0).all() and after.scores.isfinite().all()
    assert after.gallery.shape == (G, D) and after.queries.shape == (Q, D)
    assert after.scores.dtype == torch.float32 and after.indices.dtype == torch.int64


@contract
def test_a_reranking_leaves_its_argument_as_it_was(reranker, ranking):
    before = deepcopy(ranking)
    reranker(ranking)
    assert ranking == before


@contract
def test_a_move_tells_the_ranks_and_scores_of_both_rankings(reranker, ranking):
    after = reranker(ranking)
    for position in (0, 6, 16):
        row = int(after.indices[3, position])
        move = reranker.explain(ranking, 3, row)
        assert (move.row, move.rank_after, move.method) == (row, position + 1, reranker.name)
        assert int(ranking.indices[3, move.rank_before - 1]) == row
        assert move.score_before == pytest.approx(float(ranking.scores[3, move.rank_before - 1]))
        assert move.score_after == pytest.approx(float(after.scores[3, position]), abs=1e-5)
        sizes = [abs(influence.amount) for influence in move.influences]
        assert sizes == sorted(sizes, reverse=True)
        assert len({influence.item for influence in move.influences}) == len(sizes)


@contract
def test_a_row_outside_the_shortlist_has_no_move(reranker, ranking):
    outside = (set(range(G)) - set(ranking.indices[0].tolist())).pop()
    with pytest.raises(ValueError, match=f"row {outside} is not among the 17"):
        reranker.explain(ranking, 0, outside)
    with pytest.raises(ValueError, match="5 queries"):
        reranker.explain(ranking, Q, int(ranking.indices[0, 0]))


@pytest.mark.parametrize("reranker", [r for r in ALL if r.name not in OF_CELLS], ids=lambda r: r.name)
def test_a_permuted_gallery_gives_the_same_items(reranker, vectors):
    order = torch.randperm(G, generator=torch.Generator().manual_seed(0))
    after = reranker(first_stage(*vectors, k=17))
    permuted = reranker(first_stage(vectors[0], vectors[1][order], k=17))
    assert_close(permuted.scores, after.scores)
    by_row = torch.zeros(Q, G).scatter_(1, after.indices, after.scores)
    assert_close(torch.zeros(Q, G).scatter_(1, order[permuted.indices], permuted.scores), by_row)


@contract
@pytest.mark.parametrize("k", [1, 2])
def test_very_short_lists_and_a_gallery_of_duplicates_are_ranked(reranker, noise, k):
    gallery = noise(1, D).repeat(k + 1, 1)
    ranking = first_stage(noise(2, D, seed=1), gallery, k=k)
    after = reranker(ranking)
    assert after.scores.isfinite().all()
    if reranker.name not in OF_CELLS:
        assert after.indices.tolist() == [list(range(k))] * 2


def test_query_expansion_scores_by_the_expanded_query(ranking):
    after = QueryExpansion(n=4, alpha=2.0)(ranking)
    expanded = expand(ranking.queries, ranking.gallery[ranking.indices[:, :4]], 2.0)
    assert_close(after.queries, expanded)
    assert_close(after.scores, (expanded @ ranking.gallery.T).gather(1, after.indices))


def test_augmentation_reaches_beyond_the_shortlist(ranking):
    after = DatabaseAugmentation(n=4, alpha=2.0)(ranking)
    augmented = augment_database(ranking.gallery, torch.arange(G), 4, 2.0)
    assert_close(after.scores, (ranking.queries @ augmented.T).gather(1, after.indices))


def test_a_chain_is_one_step_after_the_other(ranking):
    chain = make_reranker("dba+aqe", n=2)
    expected = QueryExpansion(n=2)(DatabaseAugmentation(n=2)(ranking))
    assert chain.name == "dba+aqe"
    assert torch.equal(chain(ranking).indices, expected.indices)


def planted():
    """Row 0 helps: close to the query, and row 1 lies behind it; row 2 is nearly row 1's mirror image,
    without a helper; rows 3 and up lie elsewhere."""
    angle = torch.deg2rad(torch.tensor([30.0, 60.0, -59.0]))
    near = torch.stack([angle.cos(), angle.sin(), torch.zeros(3)], dim=1)
    far = F.normalize(torch.tensor([[0.2, -0.3, 1.0], [0.2, 0.0, -1.0], [0.1, -0.5, 0.9]]), dim=1)
    return first_stage(torch.eye(3)[:1], torch.cat([near, far]), k=6)


@pytest.mark.parametrize(
    "reranker",
    [
        QueryExpansion(n=1),
        DatabaseAugmentation(n=1),
        KReciprocal(k1=2, k2=1),
        KReciprocal(k1=2, k2=1, joint=True),
        Diffusion(n=2, n_seeds=1),
        SuperGlobal(n=1, beta=0.5),
        make_reranker("dba+aqe", n=1),
    ],
    ids=lambda r: r.name,
)
def test_the_planted_helper_is_named_with_a_positive_amount(reranker):
    ranking = planted()
    move = reranker.explain(ranking, 0, 1)
    amounts = {each.item: each.amount for each in move.influences if each.item != 1}  # others than itself
    assert amounts[0] > 0 and amounts[0] == max(amounts.values())
    assert move.rank_after <= move.rank_before


def test_the_helper_of_one_sinks_its_mirror_image():
    move = QueryExpansion(n=1).explain(planted(), 0, 2)
    assert move.influences[0].item == 0 and move.influences[0].amount < 0
    assert (move.rank_before, move.rank_after) == (2, 3)


def test_amounts_of_query_expansion_are_differences_of_cosines(ranking):
    reranker, row = QueryExpansion(n=3, alpha=1.0), int(ranking.indices[1, 5])
    move = reranker.explain(ranking, 1, row)
    neighbors = ranking.gallery[ranking.indices[1, :3]]
    candidates = ranking.gallery[ranking.indices[1]]
    whole = expand(ranking.queries[1:2], neighbors[None], 1.0)[0]
    for influence in move.influences:
        kept = neighbors[ranking.indices[1, :3] != influence.item]
        change = candidates @ (whole - expand(ranking.queries[1:2], kept[None], 1.0)[0])
        assert influence.amount == pytest.approx(float(change[5] - change.mean()), abs=1e-6)


@pytest.mark.parametrize("reranker", [SuperGlobal(), SuperGlobal(n=2, beta=0.6)], ids=lambda r: f"n={r.n}")
def test_influences_of_superglobal_sum_to_the_score_it_ranks_by(reranker, ranking):
    after = reranker(ranking)
    for query, position in ((0, 0), (2, 5), (4, 16)):
        move = reranker.explain(ranking, query, int(after.indices[query, position]))
        assert sum(each.amount for each in move.influences) == pytest.approx(move.score_after, abs=1e-6)
        assert move.score_after == pytest.approx(float(after.scores[query, position]), abs=1e-6)


def test_superglobal_ranks_its_first_before_the_rest_which_keep_their_order(ranking):
    after = SuperGlobal(n_first=6)(ranking)
    assert set(after.indices[1, :6].tolist()) == set(ranking.indices[1, :6].tolist())
    assert torch.equal(after.indices[:, 6:], ranking.indices[:, 6:])
    move = SuperGlobal(n_first=6).explain(ranking, 1, int(ranking.indices[1, 6]))
    assert (move.rank_before, move.rank_after, move.influences) == (7, 7, ())


def test_the_rest_stays_behind_though_subtraction_rounds():
    """0.1 - (0.1 - 0.7 * 0.1) is more than 0.7 * 0.1 in float32 for some of these."""
    for before in torch.linspace(0.05, 0.95, 200):
        for low in (before * 0.7, before * 0.3, before - 1):
            scores = first_then_rest(torch.tensor([1.0, before, before]), low[None])
            assert scores[1] <= scores[0]


@pytest.mark.parametrize("method", [SharesReranking, TransportReranking])
def test_pictures_with_the_same_cells_are_preferred(method):
    """Both candidates have the same embedding; one has the query's positions, moved, the other a blend."""
    query = torch.eye(6, 7)
    moved = query.roll(2, dims=0)
    blend = query.mean(0, keepdim=True).repeat(6, 1)
    gallery = [shares_of(blend), shares_of(moved)]
    ranking = first_stage(query.sum(0)[None], torch.stack([s.total for s in gallery]), k=2)
    assert ranking.indices.tolist() == [[0, 1]]
    after = method(lambda i: shares_of(query), gallery.__getitem__)(ranking)
    assert after.indices.tolist() == [[1, 0]]


def test_matched_similarity_of_the_same_cells_in_other_places_is_one():
    cells = torch.eye(6, 7)
    assert matched_similarity(shares_of(cells), shares_of(cells.roll(2, dims=0))) == pytest.approx(1.0)


def test_transport_scores_by_cosine_and_votes(ranking):
    reranker = shares_reranker(TransportReranking)
    after = reranker(ranking)
    for query in range(Q):
        for position, row in enumerate(ranking.indices[query].tolist()):
            cells = (
                torch.randn(6, 4, generator=torch.Generator().manual_seed(s)) for s in (1000 + query, row)
            )
            votes = float(transport_votes(*cells, dustbin=0.6, sharpness=20.0).sum()) if position < 7 else 0.0
            expected = 0.3 * float(ranking.scores[query, position]) + 0.7 * votes
            assert dict(zip(after.indices[query].tolist(), after.scores[query].tolist(), strict=True))[
                row
            ] == pytest.approx(expected, abs=1e-6)


def test_shares_look_only_at_the_first_n(ranking):
    asked = []

    def gallery_shares(row):
        asked.append(row)
        return shares_of(torch.ones(6, 4))

    after = SharesReranking(lambda i: shares_of(torch.ones(6, 4)), gallery_shares, n=3)(ranking)
    assert asked == ranking.indices[:, :3].flatten().tolist()
    assert torch.equal(after.indices[:, 3:], ranking.indices[:, 3:])


@pytest.mark.parametrize("k", [17, 43, 1024])
def test_full_ranks_hold_every_row_once_with_the_shortlist_first(vectors, k):
    before = first_stage(*vectors, k=k)
    after = QueryExpansion()(before)
    ranks = full_ranks(before, after)
    assert ranks.shape == (G, Q) and ranks.dtype == torch.int64
    assert torch.equal(ranks.sort(dim=0).values, torch.arange(G)[:, None].expand(G, Q))
    n = min(k, G)
    assert torch.equal(ranks[:n].T, after.indices)
    assert torch.equal(ranks[n:].T, first_stage(*vectors, k=G).indices[:, n:])


def test_a_query_in_the_gallery_finds_itself_first(vectors):
    ranking = first_stage(vectors[1][[4]], vectors[1], k=3)
    assert int(ranking.indices[0, 0]) == 4
    assert float(ranking.scores[0, 0]) == pytest.approx(1.0, abs=1e-6)


def test_bad_vectors_are_refused(noise):
    bad = noise(4, 6)
    bad[2, 1] = float("nan")
    with pytest.raises(ValueError, match="gallery hold NaN or infinity in 1 of 4 rows, first in row 2"):
        first_stage(noise(2, 6), bad, k=2)
    with pytest.raises(ValueError, match="queries have width 5 and the gallery 6"):
        first_stage(noise(2, 5), noise(4, 6), k=2)
    with pytest.raises(ValueError, match="items, width"):
        first_stage(noise(2, 6), noise(0, 6), k=2)


def test_unknown_names_and_options_are_refused():
    with pytest.raises(UnknownNameError, match=r"k-reciprocal.*'magic'"):
        make_reranker("aqe+magic")
    with pytest.raises(ValueError, match="no option 'k1'; it has alpha, n"):
        make_reranker("aqe", k1=3)
    with pytest.raises(ValueError, match="needs query_shares and gallery_shares"):
        make_reranker("shares")
    with pytest.raises(ValueError, match="functions from an index"):
        make_reranker("shares", query_shares=1, gallery_shares=2)
    for name, options in [("aqe", {"n": 0}), ("dba", {"alpha": -1.0}), ("k-reciprocal", {"mix": 2.0}),
        ("aqe", {"n": 2.5}), ("dba", {"alpha": "x"}), ("diffusion", {"alpha": "x"}),
        ("k-reciprocal", {"joint": "x"}),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match="got"):
            make_reranker(name, **options)
    with pytest.raises(ValueError, match="below 1, got"):
        make_reranker("diffusion", alpha=1.0)
    with pytest.raises(ValueError, match="at least one re-ranker"):
        Chain([])
