import io
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from catalog.errors import UserError
from filters.base import load
from filters.shared.images import Images
from tests.filters.pictures import Memory, encode, flat, photo, samples

DATA = Path(__file__).resolve().parent.parent.parent.parent / "shared" / "data"


def clusters(items: list[tuple[list[bytes], str]], *, user: str = "", **params: object) -> list[list[int]]:
    """The numbers of the items of each cluster."""
    flt, reader = load("dedup_pixels", params), Memory()
    batch = samples(items, reader, user=user)
    found = flt.score(batch, Images.read(batch, reader))
    table = pa.table({"id": batch["id"], "pixels": found["pixels"]})
    assert flt.cluster is not None
    out: dict[str, list[int]] = {}
    for row in flt.cluster(table).to_pylist():
        assert row["similarity"] == 1.0
        out.setdefault(row["cluster"], []).append(int(row["id"][2:]))
    return sorted(sorted(c) for c in out.values())


def turned(picture: np.ndarray, orientation: int) -> bytes:
    """The picture as a PNG that has to be turned to be seen."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = {1: picture, 3: picture[::-1, ::-1], 6: np.rot90(picture)}[orientation]
    return encode(np.ascontiguousarray(stored), "PNG", exif=exif.tobytes())


def test_the_same_picture_in_another_file_is_found() -> None:
    picture = photo(1, 60, 80)
    jpeg = encode(picture, "JPEG", quality=80)
    decoded = np.asarray(Image.open(io.BytesIO(jpeg)))
    items = [
        encode(picture),
        encode(picture, "WEBP", lossless=True),
        encode(picture, "BMP"),
        encode(picture, "PNG", dpi=(72, 72)),
    ]
    items += [jpeg, encode(decoded, "TIFF"), encode(photo(2, 60, 80))]
    assert clusters([([b], "x") for b in items]) == [[0, 1, 2, 3], [4, 5]]


def test_as_a_person_sees_it() -> None:
    picture = photo(3, 40, 50)
    upright = [turned(picture, o) for o in (1, 3, 6)]
    grey = np.asarray(Image.fromarray(picture).convert("L"))
    greys = [encode(grey), encode(np.repeat(grey[:, :, None], 3, 2))]
    clear = np.dstack([picture, np.full((40, 50), 255, np.uint8)])
    clear[:20, :, 3] = 0
    white = picture.copy()
    white[:20] = 255
    items = [*upright, *greys, encode(clear), encode(white), encode(np.ascontiguousarray(picture[::-1]))]
    assert clusters([([b], "x") for b in items]) == [[0, 1, 2], [3, 4], [5, 6]]


def test_one_level_of_one_pixel_or_another_shape_is_another_picture() -> None:
    picture, other = photo(4, 30, 40), photo(4, 30, 40)
    other[7, 9, 2] ^= 1
    items = [encode(picture), encode(other), encode(flat(9, 20, 30)), encode(flat(9, 30, 20)), encode(flat(9, 600, 1))]
    assert clusters([([b], "x") for b in items]) == []


def test_what_is_halved_counts_with_its_true_size() -> None:
    assert clusters([([encode(flat(9, 2, n))], "x") for n in (4096, 4095, 2048)]) == []
    assert clusters([([encode(flat(9, 2, 4096), f)], "x") for f in ("PNG", "BMP")]) == [[0, 1]]


@pytest.mark.parametrize(("pair", "found"), [("image", [[0, 1, 2, 3]]), ("image+text", [[0, 1]])])
def test_policies(pair: str, found: list[list[int]]) -> None:
    a, b = encode(photo(5, 30, 40)), encode(photo(6, 30, 40))
    items = [([a], "A dog."), ([a], "a  dog"), ([a], "A cat."), ([a], "dog a"), ([b], "A dog.")]
    assert clusters(items, pair=pair) == found


def test_other_questions_about_one_picture_are_other_samples() -> None:
    a, flt, parts = encode(photo(5, 30, 40)), load("dedup_pixels"), []
    for user in ("How many?", "how many", "What?"):
        reader = Memory()
        batch = samples([([a], "Two.")], reader, user=user)
        parts += flt.score(batch, Images.read(batch, reader))["pixels"].to_pylist()
    assert parts[0] == parts[1] != parts[2]


def test_the_same_text_never_joins_pictures() -> None:
    items = [([encode(photo(k, 24, 24))], "A photo of an apple.") for k in range(40)]
    assert clusters(items) == clusters(items, pair="image") == []


def test_several_images_count_in_order_and_all_must_be_readable() -> None:
    a, b = encode(photo(5, 30, 40)), encode(photo(6, 30, 40))
    items = [
        ([a, b], "x"),
        ([a, b], "x"),
        ([b, a], "x"),
        ([a], "x"),
        ([a, b"?"], "x"),
        ([a, b"?"], "x"),
        ([], "x"),
        ([], "x"),
    ]
    assert clusters(items) == [[0, 1]]


def test_a_wrong_policy_is_named() -> None:
    with pytest.raises(UserError, match="pair"):
        clusters([], pair="text")


def files(pattern: str) -> list[Path]:
    found = sorted(DATA.glob(pattern))
    if not found:
        pytest.skip("the real data is not there")
    return found


@pytest.mark.parametrize(("pattern", "copies"), [("openclipart/**/*.png", 37), ("nlvr/**/*.png", None)])
def test_known_truth(pattern: str, copies: int | None) -> None:
    """Every file whose decoded pixels another one has, counted independently, and nothing else."""
    paths = files(pattern)
    seen: dict[str, int] = {}
    digests: dict[str, int] = {}
    for p in paths:
        image = Image.open(p).convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image)
        shown = white.convert("RGB")
        key = sha256(f"{shown.size}".encode() + shown.tobytes()).hexdigest()
        seen[key] = seen.get(key, 0) + 1
        raw = sha256(p.read_bytes()).hexdigest()
        digests[raw] = digests.get(raw, 0) + 1
    found = clusters([([p.read_bytes()], "") for p in paths], pair="image")
    assert sorted(len(c) for c in found) == sorted(n for n in seen.values() if n > 1)
    if copies is not None:
        assert len(paths) - len(digests) == copies
        assert sum(len(c) - 1 for c in found) >= copies
