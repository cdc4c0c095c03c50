"""The field map: which values of a record become the conversation, the images and the boxes of a sample."""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from catalog.errors import UserError, nearest, unknown_keys
from catalog.schema import MARKS, TASKS
from curate.sources.base import Bad, Draft, as_list, clean

KEYS = (
    "image", "text", "question", "choices", "answer", "instruction", "input", "output",
    "messages", "system", "boxes", "task", "license",
)  # fmt: skip
BOX_KEYS = ("quad", "text", "confidence", "confidence_scale")
KINDS = {
    "text": ("text",),
    "question": ("question", "choices", "answer"),
    "instruction": ("instruction", "input", "output"),
}
SPEAKERS = {
    "human": "user", "user": "user",
    "gpt": "assistant", "assistant": "assistant", "model": "assistant", "chatgpt": "assistant", "bot": "assistant",
    "system": "system",
}  # fmt: skip
MISSING: Any = object()
_LETTERED = re.compile(r"\s*\(?[A-Za-z]\s?[).:]")


def get(value: Any, path: str) -> Any:
    """Return what `path` names: `a`, `a.b`, `a.0.b`, or `a.*.b` for one value per element; `MISSING` if it is not there."""
    if isinstance(value, Mapping) and path in value:
        return value[path]
    step, _, rest = path.partition(".")
    if step == "*" and isinstance(value, list):
        found = [get(v, rest) if rest else v for v in value]
        return MISSING if any(v is MISSING for v in found) else found
    if isinstance(value, Mapping) and step in value:
        value = value[step]
    elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
        value = value[int(step)]
    else:
        return MISSING
    return get(value, rest) if rest else value


def as_text(value: Any) -> str:
    """Return a scalar or a list of scalars as text; integral floats lose their `.0`."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):  # how pandas writes a missing value
            return ""
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else str(value)
    if isinstance(value, list):
        return "\n".join(as_text(v) for v in value)
    raise Bad(code="bad_record", message=f"expected text, got {type(value).__name__}")


@dataclass(frozen=True, kw_only=True)
class Fields:
    """A checked field map. Every value is a list of dotted paths; one that ends in `?` may be missing."""

    paths: Mapping[str, Sequence[str]]
    boxes: Mapping[str, Any] = field(default_factory=dict)  # list: path of the list; else BOX_KEYS
    prompt: str = ""

    @classmethod
    def of(cls, fields: Mapping[str, Any], prompt: str, where: str) -> "Fields":
        """Return the map that a recipe spells out; raise `UserError` for what it cannot mean."""
        unknown_keys(fields, KEYS, f"the field map of {where}")
        boxes: dict[str, Any] = {}
        if "boxes" in fields:
            given = fields["boxes"]
            if not isinstance(given, Mapping) or len(given) != 1 or not isinstance(next(iter(given.values())), Mapping):
                msg = f"`boxes` in the field map of {where} must read {{<list>: {{quad: <field>, text: <field>}}}}"
                raise UserError(msg, usage=True)
            name, inner = next(iter(given.items()))
            unknown_keys(inner, BOX_KEYS, f"`boxes` of {where}")
            boxes = {"quad": "quad", "text": "text", **inner, "list": name}
        paths = {k: as_list(v) for k, v in fields.items() if k != "boxes"}
        kinds = [k for k in ("text", "question", "instruction", "messages") if k in paths]
        if len(kinds) > 1:
            msg = f"the field map of {where} names both `{kinds[0]}` and `{kinds[1]}`: a sample is one or the other"
            raise UserError(msg, usage=True)
        for kind, members in KINDS.items():
            for key in members:
                if key in paths and kind not in paths:
                    msg = f"the field map of {where} names `{key}` without `{kind}`"
                    raise UserError(msg, usage=True)
        if not kinds and "image" not in paths:
            msg = f"the field map of {where} names neither `image` nor any text"
            raise UserError(msg, usage=True)
        return cls(paths=paths, boxes=boxes, prompt=prompt)

    def roots(self) -> Iterator[str]:
        """Yield the top-level names of all fields that must be there."""
        for paths in self.paths.values():
            yield from (p for p in paths if not p.endswith("?"))
        if self.boxes:
            yield self.boxes["list"]

    def check(self, records: Sequence[Mapping[str, Any]], where: str) -> None:
        """Raise `UserError` for a field that none of the first `records` has: a typo must not become a million rejects."""
        if not records:
            return
        known = sorted({k for r in records for k in r if k})
        for path in self.roots():
            top = path.partition(".")[0]
            if path not in known and top not in known:
                msg = f"no field `{top}` in {where}{nearest(top, known)}"
                raise UserError(msg, usage=True)

    def _values(self, record: Mapping[str, Any], key: str) -> list[Any]:
        out = []
        for path in self.paths.get(key, ()):
            value = get(record, path.removesuffix("?"))
            if value is MISSING:
                if path.endswith("?"):
                    continue
                raise Bad(code="bad_record", message=f"no field `{path}`")
            out.append(value)
        return out

    def _text(self, record: Mapping[str, Any], key: str) -> str:
        return "\n".join(t for v in self._values(record, key) if (t := as_text(v)))

    def draft(self, record: Mapping[str, Any], locator: str, image: Callable[[Any], bytes]) -> Draft:
        """Return what `record` says; `image` turns a value into bytes. Raises `Bad`."""
        try:
            return self._draft(record, locator, image)
        except UnicodeEncodeError as e:
            raise Bad(
                code="bad_utf8", message=f"the text holds a lone surrogate (U+{ord(e.object[e.start]):04X})"
            ) from None
        except RecursionError:
            raise Bad(code="bad_json", message="nested too deeply") from None

    def _draft(self, record: Mapping[str, Any], locator: str, image: Callable[[Any], bytes]) -> Draft:
        named = [v for found in self._values(record, "image") for v in (found if isinstance(found, list) else [found])]
        named = [v for v in named if v is not None and v != ""]
        turns = [t for t in self._turns(record, bool(named)) if t["role"] != "system" or t["content"]]
        if not named and not any(t["content"].strip() for t in turns):
            raise Bad(code="empty", message="no text and no image")
        place_marks(turns, len(named))
        boxes = self._boxes(record, bool(named))
        meta = _meta(record, {t["content"] for t in turns}, self.boxes)
        for turn in turns:
            turn["content"].encode()
        meta.encode()
        task = self._text(record, "task")
        if task and task not in TASKS:
            raise Bad(code="bad_record", message=f"`{task[:80]}` is no task")
        return Draft(
            locator=clean(locator),
            messages=tuple(turns),
            images=tuple(image(v) for v in named),
            boxes=boxes,
            task=task,
            license=self._text(record, "license"),
            meta=meta,
        )

    def _turns(self, record: Mapping[str, Any], has_image: bool) -> Iterator[dict[str, str]]:  # noqa: FBT001
        yield {"role": "system", "content": self._text(record, "system")}
        if "messages" in self.paths:
            for value in self._values(record, "messages"):
                yield from conversation(value)
        elif "question" in self.paths:
            question, answer = self._text(record, "question"), self._values(record, "answer")
            choices = self._values(record, "choices")
            asked, letters = _choices(choices[0] if choices else None)
            yield _user("\n".join(t for t in (self.prompt, question, asked) if t))
            if "answer" in self.paths:
                one = answer[0] if len(answer) == 1 else None
                if (
                    letters
                    and type(one) is int
                    and 0 <= one < len(letters)
                    and str(one) not in map(as_text, choices[0])
                ):
                    yield {"role": "assistant", "content": letters[one]}  # the answer is an index into the choices
                else:
                    yield {"role": "assistant", "content": self._text(record, "answer")}
        elif "instruction" in self.paths:
            asked = "\n\n".join(t for t in (self._text(record, "instruction"), self._text(record, "input")) if t)
            yield _user("\n".join(t for t in (self.prompt, asked) if t))
            if "output" in self.paths:
                yield {"role": "assistant", "content": self._text(record, "output")}
        else:
            if has_image or self.prompt:
                yield _user(self.prompt)
            if "text" in self.paths:
                yield {"role": "assistant", "content": self._text(record, "text")}

    def _boxes(self, record: Mapping[str, Any], has_image: bool) -> tuple[Mapping[str, Any], ...]:  # noqa: FBT001
        if not self.boxes:
            return ()
        items = get(record, self.boxes["list"])
        if items is None or items == []:
            return ()
        if not isinstance(items, list) or not has_image:
            raise Bad(code="bad_record", message=f"`{self.boxes['list']}` must be a list of boxes on an image")
        return tuple(self._box(item) for item in items)

    def _box(self, item: Any) -> Mapping[str, Any]:
        quad = get(item, self.boxes["quad"])
        if isinstance(quad, list) and quad and isinstance(quad[0], list):  # [[x, y], ...]
            quad = [v for point in quad if isinstance(point, list) for v in point]
        if not isinstance(quad, list) or len(quad) not in (4, 8) or not all(_is_number(v) for v in quad):
            raise Bad(code="bad_record", message="a box is 4 numbers (x1 y1 x2 y2) or 8 (four corners)")
        if len(quad) == 4:
            x1, y1, x2, y2 = quad
            quad = [x1, y1, x2, y1, x2, y2, x1, y2]
        text = get(item, self.boxes["text"])
        sure = get(item, self.boxes["confidence"]) if "confidence" in self.boxes else None
        if sure is not None:
            if not _is_number(sure) or not 0 <= sure / float(self.boxes.get("confidence_scale", 1)) <= 1:
                raise Bad(
                    code="bad_record", message="a confidence must lie in 0..1 (`confidence_scale: 100` for percent)"
                )
            sure = float(sure) / float(self.boxes.get("confidence_scale", 1))
        content = "" if text is MISSING else as_text(text)
        content.encode()
        # As they are stored, so that the digest can be computed again from the table.
        return {"media": 0, "text": content, "quad": [float(np.float32(v)) for v in quad], "confidence": sure}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e9 < value < 1e9  # not NaN either


def _user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def _choices(value: Any) -> tuple[str, list[str]]:
    """Return the text of the choices and, where we lettered them, the letters."""
    if value is None or value == []:
        return "", []
    if not isinstance(value, list):
        return as_text(value), []
    texts = [as_text(v) for v in value]
    if all(_LETTERED.match(t) for t in texts):
        return "\n".join(texts), []
    letters = [chr(65 + i) if i < 26 else str(i + 1) for i in range(len(texts))]
    return "\n".join(f"{a}. {t}" for a, t in zip(letters, texts, strict=True)), letters


def conversation(value: Any) -> Iterator[dict[str, str]]:
    """Yield the turns of `[{from, value}]`, `[{role, content}]` or `[{user, assistant}]`. Raises `Bad`."""
    if not isinstance(value, list):
        raise Bad(code="bad_record", message=f"a conversation must be a list, not {type(value).__name__}")
    for turn in value:
        if not isinstance(turn, Mapping):
            raise Bad(code="bad_record", message="a turn must be an object")
        if "user" in turn and "assistant" in turn:
            yield _user(as_text(turn["user"]))
            yield {"role": "assistant", "content": as_text(turn["assistant"])}
            continue
        who, said = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
        role = SPEAKERS.get(who) if isinstance(who, str) else None
        if role is None:
            raise Bad(
                code="bad_record",
                message=f"unknown speaker {json.dumps(who, default=str)[:80]}; known: {', '.join(SPEAKERS)}",
            )
        yield {"role": role, "content": _said(said)}


def _said(value: Any) -> str:
    """Return the text of a turn; a list of parts (`{type: text, text}`, `{type: image}`) is joined in order."""
    if not isinstance(value, list):
        return as_text(value)
    out = []
    for part in value:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if isinstance(part, Mapping) and (kind == "text" or (kind is None and "text" in part)):
            out.append(as_text(part.get("text")))
        elif kind in ("image", "image_url", "input_image"):
            out.append(MARKS["image"])
        else:
            raise Bad(code="bad_record", message=f"cannot read a part of type {json.dumps(kind, default=str)[:80]}")
    return "\n".join(out)


def place_marks(turns: list[dict[str, str]], images: int) -> None:
    """See to one `<image>` mark per image: put them before the first user turn if there are none. Raises `Bad`."""
    for kind, mark in MARKS.items():
        have = sum(t["content"].count(mark) for t in turns)
        want = images if kind == "image" else 0
        if have == want:
            continue
        if have or kind != "image":
            raise Bad(code="mark_mismatch", message=f"{have} `{mark}` marks for {want} of that kind")
        first = next((t for t in turns if t["role"] == "user"), None)
        if first is None:
            first = _user("")
            turns.insert(1 if turns and turns[0]["role"] == "system" else 0, first)
        first["content"] = "\n".join([mark] * images + ([first["content"]] if first["content"] else []))


def _plain(value: Any) -> Any:
    """Return `value` as JSON can hold it: bytes are left out, NaN and infinities become null, dates and decimals text."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items() if not isinstance(v, bytes | bytearray | memoryview)}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value if not isinstance(v, bytes | bytearray | memoryview)]
    return str(value)


def _meta(record: Mapping[str, Any], said: set[str], boxes: Mapping[str, Any]) -> str:
    """Return as JSON what of `record` is not in the sample word for word."""
    held = {boxes[k] for k in ("quad", "text", "confidence") if k in boxes}
    rest = {}
    for key, value in record.items():
        if isinstance(value, str) and value and value in said:
            continue
        if (
            boxes
            and key == boxes["list"]
            and isinstance(value, list)
            and all(isinstance(v, Mapping) and set(v) <= held for v in value)
        ):
            continue
        if isinstance(value, bytes | bytearray | memoryview):
            continue
        rest[str(key)] = _plain(value)
    return json.dumps(rest, ensure_ascii=False, allow_nan=False)
