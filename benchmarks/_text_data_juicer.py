"""Data-Juicer's filters over JSON lines by its default executor: run by `text_filters.py` with Data-Juicer's own Python.

    python _text_data_juicer.py FULL_FOLDER TINY_FOLDER WORK_FOLDER REPEATS

Prints one JSON line: the seconds of every run over the full and over the tiny folder, and how many documents were kept.
Nothing is cached between runs.
"""

import json
import os
import sys
import time
from pathlib import Path

OPS = (
    {"text_length_filter": {"min_len": 10}},
    {"words_num_filter": {"min_num": 10}},
    {"average_line_length_filter": {"min_len": 10}},
    {"maximum_line_length_filter": {"min_len": 10}},
    {"alphanumeric_filter": {"min_ratio": 0.25}},
    {"special_characters_filter": {"max_ratio": 0.35}},
    {"character_repetition_filter": {"rep_len": 10, "max_ratio": 0.5}},
    {"word_repetition_filter": {"rep_len": 10, "max_ratio": 0.5}},
)


def run(source, out):
    from data_juicer.config import init_configs
    from data_juicer.core import DefaultExecutor

    out.mkdir(parents=True)
    config = {
        "project_name": "bench", "dataset_path": str(source), "export_path": str(out / "kept.jsonl"), "np": 2,
        "open_tracer": False, "use_cache": False, "ds_cache_dir": str(out / "cache"), "process": list(OPS),
    }  # fmt: skip
    (out / "config.yaml").write_text(json.dumps(config))  # JSON is YAML
    executor = DefaultExecutor(init_configs(["--config", str(out / "config.yaml")]))
    started = time.perf_counter()
    executor.run()
    return time.perf_counter() - started


def main():
    full, tiny, work, repeats = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    os.environ["HF_DATASETS_CACHE"] = str(work / "hf")
    real, sys.stdout = sys.stdout, sys.stderr  # it prints
    run(tiny, work / "warm")
    times = {"full": [], "tiny": []}
    for k in range(repeats):
        times["tiny"].append(run(tiny, work / f"tiny{k}"))
        times["full"].append(run(full, work / f"full{k}"))
    kept = sum(1 for _ in (work / "full0" / "kept.jsonl").open())
    print(json.dumps(times | {"kept": kept, "how": "DefaultExecutor, np=2, JSON lines to JSON lines"}), file=real)


if __name__ == "__main__":
    main()
