"""The map of a collection as one self-contained HTML file that opens offline.

The page's scripts are those that the web page shows the map with: plain ES modules in one folder.
"""

from __future__ import annotations

from pathlib import Path

MAP_FILES = Path(__file__).parent / "templates" / "map"
