"""Vector stores for the records and embeddings of a gallery: on disk with LanceDB, or in memory."""

from lookalike.store.lance import LanceStore
from lookalike.store.manifest import Manifest, read_manifest, write_manifest
from lookalike.store.memory import MemoryStore
from lookalike.store.records import Committed, Copy, Entry, Record, Snapshot, VectorStore, record_id
from lookalike.store.uris import plain_uri

__all__ = [
    "Committed",
    "Copy",
    "Entry",
    "LanceStore",
    "Manifest",
    "MemoryStore",
    "Record",
    "Snapshot",
    "VectorStore",
    "plain_uri",
    "read_manifest",
    "record_id",
    "write_manifest",
]
