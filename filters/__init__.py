"""Filters: one file each, the file name is the filter's name. Protocol in `filters/base.py`."""
