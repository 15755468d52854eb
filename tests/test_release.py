"""What a release says of itself agrees: the package, the changelog and the citation."""

import re
from pathlib import Path

import lookalike

ROOT = Path(__file__).parents[1]


def test_changelog_and_citation_name_the_version_of_the_package_and_one_date():
    heading = r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)$"
    newest = re.search(heading, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    cited = [re.search(rf"^{key}: (\S+)$", citation, re.M)[1] for key in ("version", "date-released")]
    assert newest is not None and list(newest.groups()) == cited
    assert cited[0] == lookalike.__version__


def test_changelog_has_a_section_for_what_comes_next():
    first = re.search(r"^## .*$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert first[0] == "## [Unreleased]"
