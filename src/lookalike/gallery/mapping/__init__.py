"""The map of a collection: a position for each picture, clusters, and tables of both."""

from lookalike.gallery.mapping.collection_map import CollectionMap, MapCluster

__all__ = ["CollectionMap", "MapCluster"]
