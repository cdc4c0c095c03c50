"""Sources: one file per format, the file name is the format's name. Protocol in `curate/sources/base.py`."""
