"""NeMo Curator's English heuristic filters over JSON lines: run by `text_filters.py` with NeMo Curator's own Python.

    python _text_nemo_curator.py FULL_FOLDER TINY_FOLDER WORK_FOLDER REPEATS

Its stages are called in two processes, file by file, on the batches (pandas) that its reader hands over: all of its work,
without its scheduler. Its pipeline on a Ray of two processors, which would be the intended use, had not finished 24 documents
after two minutes here, for a reason not known. Prints one JSON line like its siblings.
"""

import json
import multiprocessing
import sys
import time
from pathlib import Path


def filters():
    from nemo_curator.stages.text.filters.heuristic import repetition, string

    return [
        string.NonAlphaNumericFilter(max_non_alpha_numeric_to_text_ratio=0.25),
        string.SymbolsToWordsFilter(max_symbol_to_word_ratio=0.1),
        string.NumbersFilter(max_number_to_text_ratio=0.15),
        string.UrlsFilter(max_url_to_text_ratio=0.2),
        string.WhiteSpaceFilter(max_white_space_ratio=0.25),
        string.ParenthesesFilter(max_parentheses_ratio=0.1),
        repetition.RepeatedLinesFilter(max_repeated_line_fraction=0.7),
        repetition.RepeatedParagraphsFilter(max_repeated_paragraphs_ratio=0.7),
        repetition.RepeatedLinesByCharFilter(max_repeated_lines_char_ratio=0.8),
        repetition.RepeatedParagraphsByCharFilter(max_repeated_paragraphs_char_ratio=0.8),
        string.WordCountFilter(min_words=50, max_words=100000),
        string.PunctuationFilter(max_num_sentences_without_endmark_ratio=0.85),
        string.WordsWithoutAlphabetsFilter(min_words_with_alphabets=0.8),
        string.CommonEnglishWordsFilter(min_num_common_words=2, stop_at_false=True),
        string.MeanWordLengthFilter(min_mean_word_length=3, max_mean_word_length=10),
        string.LongWordFilter(max_word_length=1000),
        string.EllipsisFilter(max_num_lines_ending_with_ellipsis_ratio=0.3),
        *(
            repetition.RepeatingTopNGramsFilter(n=n, max_repeating_ngram_ratio=r)
            for n, r in ((2, 0.2), (3, 0.18), (4, 0.16))
        ),
        *(
            repetition.RepeatingDuplicateNGramsFilter(n=n, max_repeating_duplicate_ngram_ratio=r)
            for n, r in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.1))
        ),
        string.BulletsFilter(max_bullet_lines_ratio=0.9),
    ]


def one(job):
    """Take one file from JSON lines to JSON lines."""
    import pandas as pd
    from nemo_curator.stages.text.filters import ScoreFilter
    from nemo_curator.tasks import DocumentBatch

    source, target = job
    batch = DocumentBatch(dataset_name="bench", data=pd.read_json(source, lines=True))
    for f in filters():
        batch = ScoreFilter(filter_obj=f, text_field="text").process(batch)
        if batch is None:
            return 0
    frame = batch.to_pandas()
    frame.to_json(target, orient="records", lines=True)
    return len(frame)


def run(pool, source, out):
    out.mkdir(parents=True)
    started = time.perf_counter()
    kept = pool.map(one, [(str(p), str(out / p.name)) for p in sorted(source.glob("*.jsonl"))], chunksize=1)
    return time.perf_counter() - started, sum(kept)


def main():
    full, tiny, work, repeats = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    times = {"full": [], "tiny": []}
    real, sys.stdout = sys.stdout, sys.stderr
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        run(pool, tiny, work / "warm")
        for k in range(repeats):
            times["tiny"].append(run(pool, tiny, work / f"tiny{k}")[0])
            seconds, kept = run(pool, full, work / f"full{k}")
            times["full"].append(seconds)
    how = "ScoreFilter stages called in 2 processes, JSON lines to JSON lines"
    print(json.dumps(times | {"kept": kept, "how": how}), file=real)


if __name__ == "__main__":
    main()
