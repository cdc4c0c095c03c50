"""Generated documents with exact and near copies, some in chains, and a recipe over them."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

LETTERS = np.random.default_rng(1).choice(list("aeiounrstlm"), (4000, 6)).tolist()
WORDS = ["".join(w[: 3 + k % 4]) for k, w in enumerate(LETTERS)]
FILES = 3


def texts(samples: int) -> list[str]:
    """Documents of 60 words; of ten, one is a copy and two have a word of an earlier one changed: some in chains."""
    rng = np.random.default_rng(3)
    out: list[list[str]] = []
    for i in range(samples):
        kind = rng.random()
        if i and kind < 0.3:
            words = list(out[int(rng.integers(max(0, i - 200), i))])
            if kind < 0.2:
                words[int(rng.integers(60))] = WORDS[int(rng.integers(len(WORDS)))]
        else:
            words = [WORDS[k] for k in rng.integers(0, len(WORDS), 60)]
        out.append(words)
    return [" ".join(words) for words in out]


def write(folder: Path, documents: Sequence[str], order: Sequence[int] = tuple(range(FILES))) -> Path:
    """Write the documents in three files, each under the name that `order` says, and a recipe."""
    (folder / "texts").mkdir(parents=True)
    for k, part in enumerate(np.array_split(np.arange(len(documents)), FILES)):
        lines = [json.dumps({"text": documents[i]}) for i in part]
        (folder / "texts" / f"{order[k]}.jsonl").write_text("\n".join(lines) + "\n")
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        "name: x\nshard_rows: 40\nsources:\n"
        "  - {name: texts, format: text, path: texts/*.jsonl, fields: {text: text}, task: text, license: CC0-1.0}\n"
        "stages:\n  - dedup_exact\n  - {filter: dedup_minhash, prefer: [length]}\n"
    )
    return recipe
