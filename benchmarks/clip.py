"""CLIP score from a tar of JPEGs and captions, against the bare model on tensors that lie in memory.

    python benchmarks/clip.py [--arch ViT-B-32] [--samples 256] [--quick] [--device cpu]

The weights are random: speed does not depend on them. Every figure is of one process with one thread per library, as a worker
has. Three rates of pairs (one image, one caption):
- bare      open_clip's own `encode_image` and `encode_text` on tensors ready in memory, in the batch size and number format that
            the filter uses; texts padded to the model's context, as open_clip has them
- network   the same tensors through the towers as the filter runs them (`filters/shared/towers.py`): how much of the difference
            to `bare` is cheaper arithmetic
- filter    `clip_score` over SAMPLE batches: read from the tar, decode, resize, tokenise, embed, compare
The filter prepares in a second thread, so it is measured twice: free to use all cores of the machine, and pinned to one.
With a GPU: images/s of ViT-B/32 and ViT-L/14, the share of the device's peak, and scores against those of the CPU.
"""

import argparse
import functools
import hashlib
import io
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPEATS = 5
PEAK = {  # dense bfloat16, 10^12 operations a second, from the makers' data sheets
    "H200": 989e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10": 125e12,
    "V100": 125e12,
    "T4": 65e12,
}
WORDS = (
    "a",
    "photo",
    "of",
    "two",
    "old",
    "red",
    "boats",
    "near",
    "the",
    "stone",
    "bridge",
    "at",
    "dusk",
    "while",
    "children",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="ViT-B-32")
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--device", default="cpu", help="cpu, or cuda for the part that needs a GPU")
    parser.add_argument("--quick", action="store_true", help="96 samples, three repeats")
    parser.add_argument("--measure", metavar="FOLDER", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.samples = 96 if args.quick else args.samples
    if args.measure:
        print(json.dumps(measure(args.arch, Path(args.measure), args.device, 3 if args.quick else REPEATS)))
        return
    from curate.engines.local import ONE_THREAD

    out: dict[str, Any] = {"samples": args.samples}
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), args.samples)
        command = [sys.executable, __file__, "--measure", folder, *(["--quick"] if args.quick else [])]
        path = os.pathsep.join([str(Path.cwd()), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": path}

        def child(arch: str, device: str, *prefix: str) -> dict[str, Any]:
            line = subprocess.run(
                [*prefix, *command, "--arch", arch, "--device", device],
                check=True, stdout=subprocess.PIPE, text=True, env=environment,
            ).stdout.splitlines()[-1]  # fmt: skip
            return dict(json.loads(line))

        if args.device == "cpu":
            core = str(min(os.sched_getaffinity(0)))
            out["all_cores"] = child(args.arch, "cpu")
            out["one_core"] = child(args.arch, "cpu", "taskset", "-c", core)
        else:
            for arch in ("ViT-B-32", "ViT-L-14"):
                out[arch] = child(arch, args.device)
    print(f"{'':<12}{'bare':>9}{'network':>9}{'filter':>9}{'filter/bare':>13}{'filter/network':>16}   pairs/s")
    for name, r in out.items():
        if isinstance(r, dict):
            print(
                f"{name:<12}{r['bare']:>9.1f}{r['network']:>9.1f}{r['filter']:>9.1f}{r['filter_to_bare']:>13.2f}"
                f"{r['filter_to_network']:>16.2f}   {r['dtype']}, batch {r['batch']}"
            )
            if "share_of_peak" in r:
                print(f"{'':<12}{r['images_per_s']:.0f} images/s, {r['share_of_peak']:.0%} of the device's peak, "
                      f"scores differ by {r['largest_difference']:.4f} from the CPU's at most")  # fmt: skip
    print(json.dumps(out))


def make(folder: Path, samples: int) -> None:
    """Write JPEGs of photo-like texture (500 x 375, as alt-text collections have them) and captions as one source."""
    import numpy as np
    import pyarrow as pa
    from PIL import Image

    from catalog.schema import SAMPLE
    from catalog.shards import TarWriter, write_table

    rng = np.random.default_rng(0)
    rows = []
    (folder / "media").mkdir()
    with (folder / "media" / "00000.tar").open("wb") as f:
        tar = TarWriter(f)
        for n in range(samples):
            coarse = rng.integers(0, 256, (12, 16, 3)).astype(np.uint8)
            smooth = np.asarray(Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC)).astype(np.int16)
            noisy = (smooth + rng.normal(0, 8, smooth.shape)).clip(0, 255).astype(np.uint8)
            data = io.BytesIO()
            Image.fromarray(noisy).save(data, "JPEG", quality=85)
            offset, size = tar.add(f"{n:05d}.jpg", data.getvalue())
            medium = {"kind": "image", "digest": hashlib.sha256(data.getvalue()).hexdigest(), "mime": "image/jpeg",
                      "width": 500, "height": 375, "shard": "media/00000.tar", "offset": offset, "size": size}  # fmt: skip
            text = " ".join(rng.choice(WORDS, int(rng.integers(5, 18))))
            said = [{"role": "user", "content": "<image>"}, {"role": "assistant", "content": text}]
            rows.append({"id": f"s/{n:05d}", "digest": "", "source": "s", "task": "caption", "license": "CC0-1.0",
                         "messages": said, "media": [medium], "boxes": [], "meta": "{}"})  # fmt: skip
        tar.close()
    write_table(folder / "samples.parquet", pa.Table.from_pylist(rows, SAMPLE))


def measure(arch: str, folder: Path, device: str, repeats: int) -> dict[str, Any]:
    """Return the rates of one process; what is compared runs in turns, and medians count."""
    import numpy as np
    import open_clip
    import pyarrow.parquet as pq
    import torch
    from open_clip.transform import PreprocessCfg, image_transform_v2

    from catalog.shards import MediaReader
    from curate.score import score_table
    from filters import base
    from filters.shared import clip, towers

    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    size = open_clip.get_model_config(arch)["vision_cfg"]["image_size"]
    preprocess = image_transform_v2(PreprocessCfg(size=size), is_train=False)
    tokenizer = open_clip.get_tokenizer(arch)
    bare = open_clip.create_model(arch).eval()
    network = clip.made(arch, open_clip.create_model(arch), preprocess, tokenizer, device=device)
    network.model.load_state_dict(bare.state_dict())
    reference = clip.made(arch, open_clip.create_model(arch), preprocess, tokenizer, device="cpu", precision="fp32")
    reference.model.load_state_dict(bare.state_dict())
    bare = bare.to(device=device, dtype=network.dtype)
    table = pq.read_table(folder / "samples.parquet")
    n = table.num_rows
    here = [network]
    # The filter loads models by name; here it is handed the random one.
    clip.load = lambda *_, **__: here[0]  # type: ignore[assignment]
    flt = base.load("clip_score", {"model": "ViT-B-32/openai"})

    def filtered() -> Any:
        with MediaReader(folder) as reader:
            return score_table(table, [flt], reader)[0]

    filtered()  # finds batch sizes, fills caches
    forward, texts = network._pictures, [m[1]["content"] for m in table["messages"].to_pylist()]
    batch = max(forward.sizes.values())
    gigabyte = min(n, 4096)
    x = torch.randn(gigabyte, 3, size, size).to(device=device, dtype=network.dtype)
    whole = tokenizer(texts).to(device)
    cut: dict[int, Any] = {}
    for _, ids in network._tokens(texts):
        cut.setdefault(len(ids), []).append(ids)
    ready = [torch.from_numpy(np.stack(v)).to(device) for v in cut.values()]

    def through(encode: Callable[[Any], Any], inputs: Any) -> None:
        for start in range(0, len(inputs), batch):
            part = inputs[start : start + batch]
            if len(part) < batch:
                part = torch.cat([part, part[-1:].expand(batch - len(part), *part.shape[1:])])
            encode(part).float().cpu()

    def images(model: Any) -> None:
        through(model.encode_image, x)

    runs = {
        "bare": lambda: (images(bare), through(bare.encode_text, whole)),
        "network": lambda: (
            images(network.model),
            [through(functools.partial(towers.encode_text, network.model), t) for t in ready],
        ),
        "filter": filtered,
        "images": lambda: images(network.model),
    }
    if device == "cpu":
        del runs["images"]
    seconds: dict[str, list[float]] = {k: [] for k in runs}
    with torch.inference_mode():
        for _ in range(repeats + 1):
            for name, run in runs.items():
                began = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - began)
    rates = {k: n / statistics.median(v[1:]) for k, v in seconds.items()}
    got = np.asarray(filtered()["clip_score"])
    here[0] = reference
    some = table.slice(0, 64)
    with MediaReader(folder) as reader:
        want = np.asarray(score_table(some, [flt], reader)[0]["clip_score"])
    out = {
        "arch": arch,
        "dtype": str(network.dtype).removeprefix("torch."),
        "batch": batch,
        **{k: round(rates[k], 2) for k in ("bare", "network", "filter")},
        "filter_to_bare": round(rates["filter"] / rates["bare"], 3),
        "filter_to_network": round(rates["filter"] / rates["network"], 3),
        "largest_difference": round(float(np.abs(got[:64] - want).max()), 5),
    }
    if device != "cpu":
        card = torch.cuda.get_device_name(device)
        peak = next((v for k, v in PEAK.items() if k in card), None)
        per_image = 2 * multiplications(network.model.visual, size)
        out |= {"device": card, "images_per_s": round(rates["images"], 1)}
        out["share_of_peak"] = round(rates["images"] * per_image / peak, 3) if peak else 0.0
    return out


def multiplications(visual: Any, size: int) -> float:
    """Return the multiply-adds of a ViT for one image: every weight once per token, and attention."""
    patch = visual.conv1.kernel_size[0]
    tokens = (size // patch) ** 2 + 1
    blocks = sum(p.numel() for p in visual.transformer.parameters() if p.ndim > 1)
    layers, width = len(visual.transformer.resblocks), visual.conv1.out_channels
    return float(tokens * (blocks + visual.conv1.weight.numel()) + 2 * layers * tokens**2 * width)


if __name__ == "__main__":
    main()
