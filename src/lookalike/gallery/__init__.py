"""Image galleries on disk: indexing, similarity search, and an explanation for every hit."""

from lookalike.gallery.absence import Absent
from lookalike.gallery.add_report import AddReport
from lookalike.gallery.calibration import Calibration, LabeledPair
from lookalike.gallery.cases import CaseFile, CasePair, read_case
from lookalike.gallery.checking import CheckReport, Finding
from lookalike.gallery.description import GalleryDescription
from lookalike.gallery.filters import parse_filter
from lookalike.gallery.gallery import Gallery
from lookalike.gallery.hubs import Hub, Hubness
from lookalike.gallery.labels import (
    combined_metadata,
    folder_labels,
    labeled_pairs,
    merged_metadata,
    table_metadata,
)
from lookalike.gallery.listing import is_table
from lookalike.gallery.recurrences import Audit, Recurrence
from lookalike.gallery.restoring import EarlierVersion
from lookalike.gallery.results import Hit, SearchResult
from lookalike.gallery.searching_regions import RegionHit, RegionsResult

__all__ = [
    "Absent",
    "AddReport",
    "Audit",
    "Calibration",
    "CaseFile",
    "CasePair",
    "CheckReport",
    "EarlierVersion",
    "Finding",
    "Gallery",
    "GalleryDescription",
    "Hit",
    "Hub",
    "Hubness",
    "LabeledPair",
    "Recurrence",
    "RegionHit",
    "RegionsResult",
    "SearchResult",
    "combined_metadata",
    "folder_labels",
    "is_table",
    "labeled_pairs",
    "merged_metadata",
    "parse_filter",
    "read_case",
    "table_metadata",
]
