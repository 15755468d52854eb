"""Work on many machines with Ray: shards of a long list, each computed by a worker and written as Parquet."""

from lookalike.distributed.cluster import RayCluster
from lookalike.distributed.shard_folder import ShardFolder, ShardManifest
from lookalike.distributed.sharded_map import Shard, sharded_map

__all__ = ["RayCluster", "Shard", "ShardFolder", "ShardManifest", "sharded_map"]
