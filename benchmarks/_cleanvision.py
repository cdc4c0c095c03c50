"""Run CleanVision over a folder, in its own environment; print one JSON line: seconds of `find_issues`, and the issues
of each file.

    <python of the peer> benchmarks/_cleanvision.py FOLDER
"""

import json
import sys
import time

from cleanvision import Imagelab

ISSUES = ("dark", "light", "odd_aspect_ratio", "low_information", "blurry", "grayscale", "odd_size", "near_duplicates")


def main() -> None:
    lab = Imagelab(data_path=sys.argv[1])
    started = time.perf_counter()
    lab.find_issues({issue: {} for issue in (*ISSUES, "exact_duplicates")}, n_jobs=2, verbose=False)
    seconds = time.perf_counter() - started
    found = lab.issues.sort_index()
    near = found["is_near_duplicates_issue"] | found["is_exact_duplicates_issue"]
    issues = {i: [bool(x) for x in found[f"is_{i}_issue"]] for i in ISSUES} | {
        "near_duplicates": [bool(x) for x in near]
    }
    print(json.dumps({"seconds": seconds, "issues": issues}))


if __name__ == "__main__":
    main()
