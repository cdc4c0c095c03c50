"""Find exact and near duplicates in a folder with CleanVision, in its own environment; print one JSON line: seconds, and pairs.

<python of the peer> benchmarks/_cleanvision_duplicates.py FOLDER
"""

import json
import sys
import time
from itertools import combinations
from pathlib import Path

from cleanvision import Imagelab


def main() -> None:
    started = time.perf_counter()
    lab = Imagelab(data_path=sys.argv[1], verbose=False)
    lab.find_issues({"exact_duplicates": {}, "near_duplicates": {}}, n_jobs=2, verbose=False)
    seconds = time.perf_counter() - started
    sets = [s for kind in ("exact_duplicates", "near_duplicates") for s in lab.info[kind]["sets"]]
    names = [[Path(p).name for p in s] for s in sets]
    print(json.dumps({"seconds": seconds, "pairs": sorted({p for s in names for p in combinations(sorted(s), 2)})}))


if __name__ == "__main__":
    main()
