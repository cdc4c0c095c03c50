"""datatrove's MinHash, its four stages with their defaults: run by `minhash.py` with datatrove's own Python.

    python _minhash_datatrove.py run FULL TINY WORK REPEATS    # seconds over both folders, and the ids that are kept
    python _minhash_datatrove.py sign FULL                     # documents/s of signatures alone, by processor time

Prints one JSON line. Two workers; the seconds over TINY are start-up.
"""

import gzip
import json
import sys
import time
from pathlib import Path


def run(source, out):
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    config = MinhashConfig()
    files = len(list(source.glob("*.jsonl")))
    stages = (
        (
            files,
            [JsonlReader(str(source)), MinhashDedupSignature(output_folder=str(out / "signatures"), config=config)],
        ),
        (
            config.num_buckets,
            [
                MinhashDedupBuckets(
                    input_folder=str(out / "signatures"), output_folder=str(out / "buckets"), config=config
                )
            ],
        ),
        (
            1,
            [MinhashDedupCluster(input_folder=str(out / "buckets"), output_folder=str(out / "remove"), config=config)],
        ),
        (
            files,
            [
                JsonlReader(str(source)),
                MinhashDedupFilter(input_folder=str(out / "remove")),
                JsonlWriter(str(out / "kept")),
            ],
        ),
    )
    started = time.perf_counter()
    for k, (tasks, pipeline) in enumerate(stages):
        LocalPipelineExecutor(pipeline=pipeline, tasks=tasks, workers=2, logging_dir=str(out / f"logs{k}")).run()
    return time.perf_counter() - started


def main():
    mode, full = sys.argv[1], Path(sys.argv[2])
    if mode == "sign":
        from datatrove.pipeline.dedup import MinhashDedupSignature

        step = MinhashDedupSignature(output_folder="unused")
        texts = [json.loads(line)["text"] for p in sorted(full.glob("*.jsonl")) for line in p.open()][:1000]
        step.get_signature(step.get_shingles(texts[0]))
        started = time.process_time()
        for text in texts:
            step.get_signature(step.get_shingles(text))
        print(json.dumps({"documents_per_s": {"signatures": len(texts) / (time.process_time() - started)}}))
        return
    tiny, work, repeats = Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5])
    run(tiny, work / "warm")
    times = {"tiny": [run(tiny, work / "tiny")], "full": [run(full, work / f"full{k}") for k in range(repeats)]}
    kept = [
        json.loads(line)["id"]
        for p in (work / "full0" / "kept").glob("*.gz")
        for line in gzip.decompress(p.read_bytes()).splitlines()
    ]
    print(json.dumps(times | {"kept": kept, "how": "four LocalPipelineExecutors, workers=2, JSON lines to JSON lines"}))


if __name__ == "__main__":
    main()
