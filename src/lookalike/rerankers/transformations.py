"""Pairs of local features, and the transformation that most of them agree on; absurd ones are rejected."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lookalike.rerankers.local_features import LocalFeatures, mirrored_descriptors, opencv
from lookalike.types import FloatArray, Verification

Points = NDArray[np.float64]  # (n, 2): x, y
Matrix = NDArray[np.float64]  # (3, 3)

RATIO = 0.85  # of the distances to the nearest and to the second nearest feature
MIN_INLIERS = 4
_CERTAIN = 30  # inliers of the match as it is, from which its mirror image is not tried
_HOMOGRAPHY_FROM = 20  # inliers; fewer don't determine a perspective, only an affine transformation
_TOLERANCE = 1 / 200  # of the picture's diagonal: distance of an inlier from where it should be
_LEAST_TOLERANCE = 2.0  # pixels
_MOST_SCALE = 12.0  # by which a picture may be larger than in the other
_MOST_STRETCH = 5.0  # ratio of the scales along two axes
_MOST_TURN, _MOST_RESIZE = np.deg2rad(35), 1.9  # by which a feature may differ from the transformation
_TRIES = 3000  # samples that MAGSAC++ draws at most
_LEAST_SPREAD = 3.0  # tolerances, across the narrower axis of the inliers


class Estimate(NamedTuple):
    """A transformation and the pairs (n, 2) of rows that agree with it."""

    matrix: Matrix
    kind: str
    pairs: NDArray[np.intp]


def verify_features(query: LocalFeatures, match: LocalFeatures, *, seed: int = 0) -> Verification:
    """Compare the local features of two pictures, the match as it is and mirrored; return the evidence.

    Features are paired by the ratio test (Lowe 2004) where each is the other's nearest; the transformation
    is estimated by MAGSAC++ (Barath et al., *MAGSAC++, a fast, reliable and accurate robust estimator*, CVPR
    2020). It is accepted if it is a possible view: not degenerate, convex outlines, no stretching or resizing
    beyond reason, and the sense of rotation that the pairing assumed. Inliers must agree in size and angle
    with it. The same input and seed give the same answer.
    """
    estimate, n_tentative = _one_sense(query, match, False, seed)
    mirrored = False
    if estimate is None or len(estimate.pairs) < _CERTAIN:
        turned, n_turned = _one_sense(query, match, True, seed)
        if turned is not None and (estimate is None or len(turned.pairs) > len(estimate.pairs)):
            estimate, n_tentative, mirrored = turned, n_turned, True
    pairs = np.zeros((0, 2), dtype=np.intp) if estimate is None else estimate.pairs
    return Verification(
        query_points=query.points[pairs[:, 0]],
        match_points=match.points[pairs[:, 1]],
        transformation=None if estimate is None else estimate.matrix,
        kind="" if estimate is None else estimate.kind,
        source="sift",
        n_tentative=n_tentative,
        mirrored=mirrored,
        frame=query.frame,
        match_size=match.size,
    )


def verify_points(
    query_points: FloatArray,
    match_points: FloatArray,
    *,
    frame: tuple[float, float, float, float],
    match_size: tuple[int, int],
    tolerance: float,
    seed: int = 0,
) -> Verification:
    """Return the evidence of pairs of cells (n, 2), (n, 2): an affine transformation, or none.

    ``tolerance`` is in pixels of the match. The checks are those of ``verify_features``, without sizes and
    angles, which cells don't have.
    """
    a, b = query_points.astype(np.float64), match_points.astype(np.float64)
    estimate = None
    if len(a) >= MIN_INLIERS:
        found = affine_between(a, b, tolerance, seed)
        if found is not None:
            rows = np.flatnonzero(_distances(found, a, b) < tolerance)
            mirrored = bool(np.linalg.det(found[:2, :2]) < 0)
            if len(rows) >= MIN_INLIERS and is_possible(found, a[rows], b[rows], frame, match_size, mirrored):
                estimate = Estimate(found, "affine", np.column_stack([rows, rows]))
    rows = np.zeros(0, dtype=np.intp) if estimate is None else estimate.pairs[:, 0]
    return Verification(
        query_points=query_points[rows],
        match_points=match_points[rows],
        transformation=None if estimate is None else estimate.matrix,
        kind="" if estimate is None else estimate.kind,
        source="cells",
        n_tentative=len(a),
        mirrored=estimate is not None and bool(np.linalg.det(estimate.matrix[:2, :2]) < 0),
        frame=frame,
        match_size=match_size,
    )


def feature_pairs(query: FloatArray, match: FloatArray, *, ratio: float = RATIO) -> NDArray[np.intp]:
    """Pair descriptors (n, D) and (m, D) of unit length: rows (p, 2) that are each other's nearest.

    A pair is kept if the nearest of the match is closer than ``ratio`` times the second nearest.
    """
    if not len(query) or len(match) < 2:
        return np.zeros((0, 2), dtype=np.intp)
    products = query @ match.T  # (n, m)
    rows = np.arange(len(query))
    nearest = products.argmax(1)
    best = products[rows, nearest]
    of_match = products.argmax(0)
    products[rows, nearest] = -np.inf
    second = products.max(1)
    close = np.maximum(0, 1 - best) < ratio**2 * np.maximum(0, 1 - second)
    kept = np.flatnonzero(close & (of_match[nearest] == rows))
    return np.column_stack([kept, nearest[kept]])


def is_possible(
    matrix: Matrix,
    query_points: Points,
    match_points: Points,
    frame: tuple[float, float, float, float],
    match_size: tuple[int, int],
    mirrored: bool,
) -> bool:
    """Whether a transformation from query to match can be a view of one thing that both show.

    It must be invertible, keep or reverse the sense of rotation throughout the inliers as ``mirrored``
    says, neither stretch nor resize beyond reason, and map the match's frame to a convex outline of 0.0001 to
    400 times the area of the query's picture. The inliers must not lie on a line.
    """
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-12:
        return False
    for middle in (query_points.mean(0), query_points.min(0), query_points.max(0)):
        jacobian, w = jacobian_at(matrix, middle)
        scales = np.linalg.svd(jacobian, compute_uv=False)
        if w <= 0 or (np.linalg.det(jacobian) < 0) != mirrored or scales[1] <= 0:
            return False
        if scales[0] / scales[1] > _MOST_STRETCH or not 1 / _MOST_SCALE < scales.prod() ** 0.5 < _MOST_SCALE:
            return False
    if not (_is_spread(query_points) and _is_spread(match_points)):
        return False
    height, width = match_size
    inverse = np.linalg.inv(matrix)
    corners = np.array([(0, 0, 1), (width, 0, 1), (width, height, 1), (0, height, 1)]) @ inverse.T
    middle = np.append(match_points.mean(0), 1) @ inverse.T
    if (corners[:, 2] * middle[2] <= 0).any():  # a corner beyond the horizon
        return False
    outline = corners[:, :2] / corners[:, 2:]
    area = (frame[2] - frame[0]) * (frame[3] - frame[1])
    return _is_convex(outline) and 1e-4 * area < abs(_area(outline)) < 400 * area


def jacobian_at(matrix: Matrix, point: NDArray[np.float64]) -> tuple[Matrix, float]:
    """Return the derivative (2, 2) of a homography at a point (2,), and the point's third coordinate.

    The coordinate is relative to that of the homography's lower right entry: negative beyond the horizon.
    """
    x, y, w = matrix @ np.append(point, 1)
    if abs(w) < 1e-12:
        return np.zeros((2, 2)), 0.0
    return (matrix[:2, :2] - np.outer([x / w, y / w], matrix[2, :2])) / w, float(w * np.sign(matrix[2, 2]))


def _one_sense(
    query: LocalFeatures, match: LocalFeatures, mirrored: bool, seed: int
) -> tuple[Estimate | None, int]:
    """The estimate for the match as it is or mirrored, and the number of pairs that were tried."""
    descriptors = mirrored_descriptors(match.descriptors) if mirrored else match.descriptors
    pairs = _one_to_one(query, match, feature_pairs(query.descriptors, descriptors))
    if len(pairs) < MIN_INLIERS:
        return None, len(pairs)
    tolerance = max(_LEAST_TOLERANCE, _TOLERANCE * float(np.hypot(*match.size)))
    a, b = (side.points[pairs[:, i]].astype(np.float64) for i, side in enumerate((query, match)))
    best: Estimate | None = None
    for kind in ("homography", "affine"):
        fit = _homography if kind == "homography" else affine_between
        matrix = fit(a, b, tolerance, seed)
        if matrix is None:
            continue
        rows = np.flatnonzero(_distances(matrix, a, b) < tolerance)
        rows = rows[_agree(matrix, query, match, pairs[rows])]
        least = _HOMOGRAPHY_FROM if kind == "homography" else MIN_INLIERS
        if len(rows) < least or (best is not None and len(rows) <= len(best.pairs)):
            continue
        if is_possible(matrix, a[rows], b[rows], query.frame, match.size, mirrored):
            best = Estimate(matrix, kind, pairs[rows])
            if kind == "homography":
                break
    return best, len(pairs)


def _one_to_one(query: LocalFeatures, match: LocalFeatures, pairs: NDArray[np.intp]) -> NDArray[np.intp]:
    """The pairs without those whose point, on either side, another pair has already."""
    for column, side in enumerate((query, match)):
        spots = np.round(side.points[pairs[:, column]]).astype(np.int64)
        _, first = np.unique(spots, axis=0, return_index=True)
        pairs = pairs[np.sort(first)]
    return pairs


def _agree(
    matrix: Matrix, query: LocalFeatures, match: LocalFeatures, pairs: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Whether the features of each pair are turned and resized as the transformation does at their place."""
    agree = np.zeros(len(pairs), dtype=np.bool_)
    for i, (a, b) in enumerate(pairs.tolist()):
        jacobian, w = jacobian_at(matrix, query.points[a].astype(np.float64))
        if w <= 0:
            continue
        x, y = jacobian @ (np.cos(query.angles[a]), np.sin(query.angles[a]))
        turn = (np.arctan2(y, x) - match.angles[b] + np.pi) % (2 * np.pi) - np.pi
        resize = abs(np.linalg.det(jacobian)) ** 0.5 * query.sizes[a] / match.sizes[b]
        agree[i] = abs(turn) < _MOST_TURN and 1 / _MOST_RESIZE < resize < _MOST_RESIZE
    return agree


def _homography(a: Points, b: Points, tolerance: float, seed: int) -> Matrix | None:
    if len(a) < _HOMOGRAPHY_FROM:
        return None
    matrix, _ = opencv().findHomography(a, b, _magsac(tolerance, seed))
    return None if matrix is None else np.asarray(matrix, dtype=np.float64)


def affine_between(
    a: Points, b: Points, tolerance: float, seed: int = 0, *, n_tries: int = _TRIES
) -> Matrix | None:
    """Return the affine transformation (3, 3) from a to b that most pairs agree on; None if there is none.

    ``tolerance`` is in pixels of b. MAGSAC++ (Barath et al., CVPR 2020) draws at most ``n_tries`` samples.
    """
    matrix, _ = opencv().estimateAffine2D(a, b, _magsac(tolerance, seed, n_tries))
    if matrix is None or not np.isfinite(matrix).all():
        return None
    return np.vstack([matrix, [0, 0, 1]]).astype(np.float64)


def _magsac(tolerance: float, seed: int, n_tries: int = _TRIES) -> object:
    cv2 = opencv()
    params = cv2.UsacParams()
    params.score, params.sampler = cv2.SCORE_METHOD_MAGSAC, cv2.SAMPLING_UNIFORM
    params.loMethod, params.loIterations, params.loSampleSize = cv2.LOCAL_OPTIM_SIGMA, 10, 20
    params.final_polisher, params.final_polisher_iterations = cv2.MAGSAC, 3
    params.confidence, params.maxIterations, params.threshold = 0.999, n_tries, tolerance
    params.isParallel, params.randomGeneratorState = False, seed
    return params


def _distances(matrix: Matrix, a: Points, b: Points) -> NDArray[np.float64]:
    """Distance of each point of b from where the transformation carries that of a; infinite beyond."""
    carried = np.column_stack([a, np.ones(len(a))]) @ matrix.T
    w = carried[:, 2:]
    with np.errstate(divide="ignore", invalid="ignore"):
        distances = np.linalg.norm(carried[:, :2] / w - b, axis=1)
    return np.where((w[:, 0] * np.sign(matrix[2, 2]) > 0) & np.isfinite(distances), distances, np.inf)


def _is_spread(points: Points) -> bool:
    """Whether points fill an area, not only a line or a spot."""
    spread = np.linalg.svd(points - points.mean(0), compute_uv=False) / len(points) ** 0.5
    return bool(spread[1] > _LEAST_SPREAD and spread[1] > 0.03 * spread[0])


def _is_convex(outline: Points) -> bool:
    """Whether the corners (4, 2), in order, turn to the same side throughout."""
    sides = np.roll(outline, -1, axis=0) - outline
    after = np.roll(sides, -1, axis=0)
    turns = sides[:, 0] * after[:, 1] - sides[:, 1] * after[:, 0]
    return bool((turns > 0).all() or (turns < 0).all())


def _area(outline: Points) -> float:
    """Signed area inside the corners (n, 2)."""
    after = np.roll(outline, -1, axis=0)
    return float((outline[:, 0] * after[:, 1] - outline[:, 1] * after[:, 0]).sum() / 2)
