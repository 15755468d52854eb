"""Re-ranking methods, which re-order an existing ranking; one final class per method."""

from lookalike.rerankers.arrays import rerank
from lookalike.rerankers.avsl import AvslReranking
from lookalike.rerankers.base import Reranker
from lookalike.rerankers.chain import Chain
from lookalike.rerankers.csa import ContextualReranking
from lookalike.rerankers.diffusion import Diffusion
from lookalike.rerankers.expansion import DatabaseAugmentation, QueryExpansion
from lookalike.rerankers.first_stage import first_stage, full_ranks
from lookalike.rerankers.from_files import Reranked, rerank_files
from lookalike.rerankers.geometry import GeometryReranking, verify_cells
from lookalike.rerankers.k_reciprocal import KReciprocal
from lookalike.rerankers.local_features import LocalFeatures, local_features
from lookalike.rerankers.match_odds import DEFAULT_ODDS, MatchOdds, fit_match_odds
from lookalike.rerankers.named import RERANKERS, make_reranker, needs_shares, options_of
from lookalike.rerankers.region_proposals import Proposal, propose_regions
from lookalike.rerankers.shares import SharesReranking
from lookalike.rerankers.superglobal import SuperGlobal
from lookalike.rerankers.transformations import verify_features
from lookalike.rerankers.transport import TransportReranking

__all__ = [
    "DEFAULT_ODDS",
    "RERANKERS",
    "AvslReranking",
    "Chain",
    "ContextualReranking",
    "DatabaseAugmentation",
    "Diffusion",
    "GeometryReranking",
    "KReciprocal",
    "LocalFeatures",
    "MatchOdds",
    "Proposal",
    "QueryExpansion",
    "Reranked",
    "Reranker",
    "SharesReranking",
    "SuperGlobal",
    "TransportReranking",
    "first_stage",
    "fit_match_odds",
    "full_ranks",
    "local_features",
    "make_reranker",
    "needs_shares",
    "options_of",
    "propose_regions",
    "rerank",
    "rerank_files",
    "verify_cells",
    "verify_features",
]
