import pyarrow as pa

from catalog import schema


def test_every_schema_takes_an_empty_table_and_back() -> None:
    for s in (schema.SAMPLE, schema.VERDICT, schema.REJECT, schema.KEPT, schema.CLUSTER):
        assert s.empty_table().schema == s
        assert len(set(s.names)) == len(s.names)


def test_names_that_travel_between_tables_have_one_type() -> None:
    tables = (schema.SAMPLE, schema.VERDICT, schema.REJECT, schema.KEPT, schema.CLUSTER)
    for name in ("id", "digest", "source", "task"):
        assert {t.field(name).type for t in tables if name in t.names} == {pa.string()}


def test_reject_codes_explain_themselves() -> None:
    assert all(code.isidentifier() and text for code, text in schema.REJECT_CODES.items())
