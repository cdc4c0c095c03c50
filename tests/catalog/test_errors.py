import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import UserError, nearest, unknown_keys


@given(st.text(), st.text(), st.booleans())
def test_errors_cross_process_boundaries(message: str, hint: str, usage: bool) -> None:
    error = pickle.loads(pickle.dumps(UserError(message, hint=hint, usage=usage)))
    assert (error.message, error.hint, error.usage) == (message, hint, usage)


def test_text() -> None:
    assert str(UserError("what", hint="how")) == "what\nhint: how"
    assert str(UserError("what")) == "what"


def test_nearest() -> None:
    assert nearest("clip_scor", ["clip_score", "blur"]) == "; did you mean `clip_score`?"
    assert nearest("zzz", ["b", "a"]) == "; known: `a`, `b`"
    assert nearest("zzz", []) == ""


def test_what_is_not_close_is_not_suggested() -> None:
    filters = ["latex_parse", "blur", "clip_score", "text_stats", *(f"filter_{n}" for n in range(30))]
    assert nearest("watermark", filters) == "; none of the 34 known names is like it"
    assert nearest("rya", ["local", "ray"]) == "; did you mean `ray`?"
    assert nearest("LaTeX", filters) == "; did you mean `latex_parse`?", "a part of a name"
    assert nearest("wa", ["watermark", "x"]) == "; known: `watermark`, `x`"


def test_unknown_keys() -> None:
    unknown_keys(["a"], ["a", "b"], "x")
    with pytest.raises(UserError, match="unknown key `tpo` in bound; did you mean `top`") as e:
        unknown_keys(["tpo"], ["top", "min"], "bound")
    assert e.value.usage
