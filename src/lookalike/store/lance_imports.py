"""LanceDB without the client of its catalog servers, which galleries never ask: half of what it imports."""

from lookalike.store.late import import_late

import_late("lance_namespace_urllib3_client")

import lancedb  # noqa: E402
from lancedb.index import BTree, IvfRq  # noqa: E402

__all__ = ["BTree", "IvfRq", "lancedb"]
