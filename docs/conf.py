"""The documentation site: uv run --group docs sphinx-build -W -b html -c docs . docs/_build

The source folder is the repository, so that links between pages, model cards and files are as on a code host.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "site"))

import fields
import navigation
from commands import CommandReference

import lookalike

project = "lookalike"
author = "The lookalike maintainers"
project_copyright = "the lookalike maintainers"
version = release = lookalike.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx_copybutton"]
root_doc = "docs/index"
include_patterns = ["docs/**", "recipes/**", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]
exclude_patterns = ["docs/_build", ".venv", "**/node_modules", "src", "tests", ".git", "dist", "runs"]
nitpicky = True

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["misc.highlighting_failure"]  # a block may hold "…"

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90

html_theme = "furo"
html_title = "lookalike"
html_static_path: list[str] = []
html_extra_path = ["site/index.html"]  # leads from the top of the site to docs/index.html
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#b8400e", "color-brand-content": "#114cbf"},
    "dark_css_variables": {"color-brand-primary": "#ff9d6b", "color-brand-content": "#86b0ff"},
}
smartquotes = False  # options keep their two dashes
copybutton_exclude = ".linenos, .gp"

PUBLIC = {name for name in lookalike.__all__ if name != "__version__"}


def resolve_public(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """Types in signatures: a public name by its last word; a class of another library is plain text."""
    if node.get("refdomain") != "py":
        return None
    last = node["reftarget"].rsplit(".", 1)[-1]
    if last in PUBLIC:
        domain = env.get_domain("py")
        return domain.resolve_xref(
            env, node["refdoc"], app.builder, "obj", f"lookalike.{last}", node, contnode
        )
    return contnode if node["reftype"] in ("class", "obj", "data", "exc") else None


def setup(app: Any) -> dict[str, Any]:
    app.add_directive("lookalike-commands", CommandReference)
    app.connect("source-read", navigation.add_toctrees)
    app.connect("autodoc-process-docstring", fields.add_fields)
    app.connect("missing-reference", resolve_public)
    return {"parallel_read_safe": True}
