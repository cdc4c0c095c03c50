"""Data-Juicer's `document_minhash_deduplicator`, 14 bands of 8: run by `minhash.py` with Data-Juicer's own Python.

    python _minhash_data_juicer.py run FULL TINY WORK REPEATS    # seconds over both folders, and the ids that are kept
    python _minhash_data_juicer.py sign FULL                     # documents/s of signatures alone, by processor time

Prints one JSON line. Nothing is cached between runs.
"""

import json
import os
import sys
import time
from pathlib import Path

OPTIONS = {
    "tokenization": "space",
    "window_size": 5,
    "lowercase": True,
    "num_permutations": 112,
    "num_bands": 14,
    "num_rows_per_band": 8,
}


def run(source, out):
    from data_juicer.config import init_configs
    from data_juicer.core import DefaultExecutor

    out.mkdir(parents=True)
    config = {
        "project_name": "bench", "dataset_path": str(source), "export_path": str(out / "kept.jsonl"), "np": 2,
        "open_tracer": False, "use_cache": False, "ds_cache_dir": str(out / "cache"),
        "process": [{"document_minhash_deduplicator": OPTIONS}],
    }  # fmt: skip
    (out / "config.yaml").write_text(json.dumps(config))  # JSON is YAML
    executor = DefaultExecutor(init_configs(["--config", str(out / "config.yaml")]))
    started = time.perf_counter()
    executor.run()
    return time.perf_counter() - started


def main():
    mode, full = sys.argv[1], Path(sys.argv[2])
    real, sys.stdout = sys.stdout, sys.stderr  # it prints
    if mode == "sign":
        from data_juicer.ops.deduplicator.document_minhash_deduplicator import DocumentMinhashDeduplicator

        op = DocumentMinhashDeduplicator(**OPTIONS)
        texts = [json.loads(line)["text"] for p in sorted(full.glob("*.jsonl")) for line in p.open()][:4000]
        op.compute_hash({"text": texts[0]})
        started = time.process_time()
        for text in texts:
            op.compute_hash({"text": text})
        rate = len(texts) / (time.process_time() - started)
        print(json.dumps({"documents_per_s": {"signatures": rate}}), file=real)
        return
    tiny, work, repeats = Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5])
    os.environ["HF_DATASETS_CACHE"] = str(work / "hf")
    run(tiny, work / "warm")
    times = {"tiny": [run(tiny, work / "tiny")], "full": [run(full, work / f"full{k}") for k in range(repeats)]}
    kept = [json.loads(line)["id"] for line in (work / "full0" / "kept.jsonl").open()]
    print(json.dumps(times | {"kept": kept, "how": "DefaultExecutor, np=2, JSON lines to JSON lines"}), file=real)


if __name__ == "__main__":
    main()
