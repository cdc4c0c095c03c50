"""datatrove's sentence dedup over JSON lines, cut at line ends, one line a span: run by `spans.py` with datatrove's own Python.

    python _spans_datatrove.py DOCUMENTS TINY WORK

Prints one JSON line: seconds over both folders (the difference is work without start-up), and bytes kept.
"""

import gzip
import json
import sys
import time
from pathlib import Path


def run(source, out):
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import SentenceDedupFilter, SentenceDedupSignature, SentenceFindDedups
    from datatrove.pipeline.dedup.sentence_dedup import SentDedupConfig
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    config = SentDedupConfig(
        n_sentences=1, split_sentences=False, only_dedup_in_index=False, min_doc_words=0, min_num_sentences=0
    )
    tasks = len(list(source.glob("*.jsonl")))
    steps = [
        ([JsonlReader(str(source)), SentenceDedupSignature(str(out / "sigs"), config=config, finder_workers=2)], tasks),
        ([SentenceFindDedups(str(out / "sigs"), str(out / "dups"), config=config)], 2),
        (
            [
                JsonlReader(str(source)),
                SentenceDedupFilter(str(out / "dups"), config=config),
                JsonlWriter(str(out / "kept")),
            ],
            tasks,
        ),
    ]
    started = time.perf_counter()
    for n, (pipeline, parts) in enumerate(steps):
        LocalPipelineExecutor(pipeline=pipeline, tasks=parts, workers=2, logging_dir=str(out / f"logs{n}")).run()
    return time.perf_counter() - started


def main():
    full, tiny, work = (Path(a) for a in sys.argv[1:4])
    run(tiny, work / "warm")
    times = {"tiny": run(tiny, work / "tiny"), "full": run(full, work / "full")}
    kept = [
        json.loads(x)
        for p in (work / "full" / "kept").glob("*.gz")
        for x in gzip.decompress(p.read_bytes()).splitlines()
    ]
    print(json.dumps({**times, "documents": len(kept), "bytes": sum(len(r["text"].encode()) for r in kept)}))


if __name__ == "__main__":
    main()
