"""Find the images that match, rank them better, and see why."""
