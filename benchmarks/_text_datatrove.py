"""datatrove's filters over JSON lines, as its examples run them: run by `text_filters.py` with datatrove's own Python.

    python _text_datatrove.py FULL_FOLDER TINY_FOLDER WORK_FOLDER REPEATS

Prints one JSON line: the seconds of every run over the full and over the tiny folder, and how many documents were kept.
The difference of the two is work without start-up: two workers that load spaCy.
"""

import gzip
import json
import sys
import time
from pathlib import Path


def run(source, out):
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    executor = LocalPipelineExecutor(
        pipeline=[
            JsonlReader(str(source)),
            GopherRepetitionFilter(),
            GopherQualityFilter(),
            C4QualityFilter(filter_no_terminal_punct=False),
            FineWebQualityFilter(),
            JsonlWriter(str(out / "kept")),
        ],
        tasks=len(list(source.glob("*.jsonl"))),
        workers=2,
        logging_dir=str(out / "logs"),
    )
    started = time.perf_counter()
    executor.run()
    return time.perf_counter() - started


def main():
    full, tiny, work, repeats = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    run(tiny, work / "warm")
    times = {"full": [], "tiny": []}
    for k in range(repeats):
        times["tiny"].append(run(tiny, work / f"tiny{k}"))
        times["full"].append(run(full, work / f"full{k}"))
    kept = sum(gzip.decompress(p.read_bytes()).count(b"\n") for p in (work / "full0" / "kept").glob("*.gz"))
    print(json.dumps(times | {"kept": kept, "how": "LocalPipelineExecutor, workers=2, JSON lines to JSON lines"}))


if __name__ == "__main__":
    main()
