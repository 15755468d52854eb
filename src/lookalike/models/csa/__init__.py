"""The re-ranking network of CSA (Ouyang et al., NeurIPS 2021), its input, and its checkpoints."""
