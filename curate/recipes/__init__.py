"""Ready-made recipes (YAML)."""
