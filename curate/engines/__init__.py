"""Engines: where work runs. Protocol in `curate/engines/base.py`."""
