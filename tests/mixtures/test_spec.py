from decimal import Decimal
from pathlib import Path

import pytest

from catalog.errors import UserError
from mixtures import spec
from tests.mixtures._toys import TINY


def test_numbers_are_the_decimals_that_are_written() -> None:
    read = spec.parse(TINY.replace('"0.35"', "0.3500").replace('"0.25"', "0.25"))
    assert [s.weight for s in read.sources] == [Decimal("0.25"), None, Decimal("0.35")]
    assert [s.name for s in read.sources] == ["charts", "photos", "prose"]
    assert spec.parse(read.to_json() | {"tokenizer": {"name": "words/1"}}) == read


def test_a_recipe_hands_in_parsed_values() -> None:
    raw = {"name": "m", "budget": {"epochs": 1.5}, "sources": [{"ref": "a", "weight": 0.1}, {"ref": "b"}]}
    read = spec.parse(raw, "mixture of recipe `r`")
    assert read.budget == ("epochs", Decimal("1.5"))
    assert read.sources[0].weight == Decimal("0.1")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("seed: 7", "sede: 7", "unknown key `sede` in mixture.yaml; did you mean `seed`?"),
        ("unit: samples", "unit: sample", "did you mean `samples`?"),
        ("name: proportional", "name: unimx", "did you mean `unimax`?"),
        ("name: proportional", "name: unimax", "needs `default_max_epochs`"),
        ("name: proportional", "name: fixed", "needs a weight for every source; `photos` has none"),
        ("name: proportional", "name: temperature", "`alpha`"),
        ("version: 1.0.0", "version: 1.0", "three numbers like `1.0.0`"),
        ("{samples: 100}", "{tokens: 100}", "counts tokens, but `unit` is samples"),
        ("{samples: 100}", "{samples: 1.5}", "a whole number from 1"),
        ("{samples: 100}", "{samples: 100, epochs: 1}", "one of `samples` and `epochs`"),
        ('"0.35"', '"0.75"', "leaves nothing for `photos`"),
        ('"0.35"', '"-1"', "a number above 0"),
        ('"0.35"', ".nan", "a number above 0"),
        ("max_epochs", "max_epoch", "did you mean `max_epochs`?"),
        ("name: charts,", "name: Photos,", "two sources"),
        ("name: charts,", "name: ../x,", "a name of letters"),
        ("source: charts,", "source: charts, tasks: [vqaa],", "did you mean `vqa`?"),
        ("source: charts,", "source: charts, split: val,", "there is no `splits`"),
        ("seed: 7", "seed: 7\nseed: 8", "given twice"),
        ("sources:", "sources: [", "is not YAML"),
        ("seed: 7", 'splits: {fractions: {train: "0.9", val: "0.2"}}', "sum to exactly 1"),
        ("seed: 7", 'stages: []', "unknown key `stages`"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(old: str, new: str, says: str) -> None:
    with pytest.raises(UserError) as e:
        spec.parse(TINY.replace(old, new))
    assert says in str(e.value)
    assert e.value.usage


def test_a_missing_file_offers_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    assert spec.read(tmp_path / "tiny.yaml").name == "tiny"
    with pytest.raises(UserError, match=r"did you mean `tiny\.yaml`"):
        spec.read(tmp_path / "tinny.yaml")
