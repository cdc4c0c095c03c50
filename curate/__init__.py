"""How data moves: sources, pipeline, engines, run, report, planted corpora."""
