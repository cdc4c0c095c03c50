"""Spans that stand in more than one place, found exactly and cut out; see docs/spans.md."""
