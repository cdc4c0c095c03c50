"""Find duplicates in a folder with imagededup's PHash, in its own environment; print one JSON line: seconds, and pairs of files.

    <python of the peer> benchmarks/_imagededup.py FOLDER

`import imagededup` fetches the weights of a network that PHash does not use; here it is made without weights. The threshold is
its default, 10 bits of 64.
"""

import json
import sys
import time

import torchvision.models

network = torchvision.models.mobilenet_v3_small
torchvision.models.mobilenet_v3_small = lambda *_, **__: network(weights=None)
from imagededup.methods import PHash  # noqa: E402


def main() -> None:
    hasher = PHash(verbose=False)
    started = time.perf_counter()
    hashes = hasher.encode_images(image_dir=sys.argv[1], num_enc_workers=2)
    found = hasher.find_duplicates(encoding_map=hashes, max_distance_threshold=10, num_dist_workers=2)
    seconds = time.perf_counter() - started
    pairs = sorted({tuple(sorted((a, b))) for a, others in found.items() for b in others})
    print(json.dumps({"seconds": seconds, "pairs": pairs}))


if __name__ == "__main__":
    main()
