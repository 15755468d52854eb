"""Index photographs, search them, and have every hit say why."""

from lookalike.gallery.adding import AddReport
from lookalike.gallery.calibration import Calibration, LabeledPair
from lookalike.gallery.description import GalleryDescription
from lookalike.gallery.filters import parse_filter
from lookalike.gallery.gallery import Gallery
from lookalike.gallery.labels import both, combined_metadata, folder_labels, labeled_pairs, table_metadata
from lookalike.gallery.results import Hit, SearchResult

__all__ = [
    "AddReport",
    "Calibration",
    "Gallery",
    "GalleryDescription",
    "Hit",
    "LabeledPair",
    "SearchResult",
    "both",
    "combined_metadata",
    "folder_labels",
    "labeled_pairs",
    "parse_filter",
    "table_metadata",
]
