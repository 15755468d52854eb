"""Cases: what people decided about pairs of pictures, in one file each, beside the gallery."""

from lookalike.gallery.cases.case_file import CaseFile
from lookalike.gallery.cases.exchange import read_case
from lookalike.gallery.cases.pairs import CasePair, CasePicture, CaseVerdict

__all__ = ["CaseFile", "CasePair", "CasePicture", "CaseVerdict", "read_case"]
