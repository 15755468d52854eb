"""Work on many machines with Ray: parts of a long list, each computed by a worker, written or returned."""

from lookalike.distributed.cluster import ENGINES, RayCluster
from lookalike.distributed.shard_folder import ShardFolder, ShardManifest
from lookalike.distributed.sharded_map import Shard, ordered_map, sharded_map

__all__ = ["ENGINES", "RayCluster", "Shard", "ShardFolder", "ShardManifest", "ordered_map", "sharded_map"]
