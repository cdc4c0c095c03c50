"""Planted corpora: generated samples with labelled defects, and the truth about them in a separate file."""
