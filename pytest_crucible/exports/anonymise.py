"""Anonymising: what an export may tell about people and about what they said.

Nothing textual is let through unless it is known to be harmless: numbers, truth values and times
stay, names of events, keys, models and the like stay, and all other text goes. The rules are in
docs/exports.md.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from pytest_crucible.events.event import ATTRIBUTIONS, CAPTURE, LOG, RECORD, TRIAL_START, TRIAL_STOP
from pytest_crucible.events.schema import COLUMNS, EXPORTED, NAME, PLACE
from pytest_crucible.exports.options import ExportOptions
from pytest_crucible.exports.rows import NESTED
from pytest_crucible.metrics.catalog import MAX, MIN

PERSONAL = (
    "user", "user_id", "username", "enduser_id", "session", "session_id", "conversation_id",
    "customer", "customer_id", "account", "account_id", "patient_id", "device_id", "person",
    "full_name", "first_name", "last_name", "email", "email_address", "user_email", "mail",
    "phone", "phone_number", "mobile", "ssn", "ip", "ip_address", "client_ip", "host", "hostname",
)  # fmt: skip
"""Fields that tell who somebody is. Their values are looked for in all other text, too."""

TEXTUAL = (
    "prompt", "prompts", "response", "completion", "content", "message", "messages", "text",
    "input", "inputs", "output", "outputs", "question", "answer", "query", "instructions",
    "system", "context", "document", "documents", "reasoning", "error", "exception", "traceback",
    "stack", "problem", "description", "comment", "title", "body",
)  # fmt: skip
"""Fields that hold free text, however short."""

HARMLESS = (
    "model", "model_name", "model_version", "provider", "status", "outcome", "cohort", "role",
    "error_type", "exception_type", "finish_reason", "stage_name", "operation_name", "unit",
)  # fmt: skip
"""Fields whose text stays, if it is a label: at most 100 characters, no space in it."""

_OURS = frozenset(
    {
        TRIAL_START, TRIAL_STOP, RECORD, LOG, CAPTURE, *ATTRIBUTIONS, *EXPORTED, *NESTED,
        "passed", "failed", "errored", "skipped", "interrupted", "xfailed", "xpassed", "judge",
        "default", "main", "duration", "cost", "tokens", "total", "prompt", "completion",
    }
)  # fmt: skip
"""Words of this package: they tell nothing of anybody, and readers need them."""

_SHOWN = {each.name: each.shown for each in COLUMNS if each.shown}
_KEY = re.compile(r"[A-Za-z_][\w.:/$-]{0,63}", re.ASCII)
_PLACE = re.compile(r"[\w.]+( at [\w./\\-]+:\d+)?", re.ASCII)  # of a failed trial: type and place
_NODE_ID = re.compile(r"[\w./\\:-]+", re.ASCII)
_MAIL = re.compile(r"[^@\s]@[^@\s]+\.\w")
_WORDS = re.compile(r"\W+|_")
_LABEL = 100
_GONE = object()


class Anonymiser:
    """Takes out of rows what tells of people.

    It looks at all rows first (`learn`): a user's id that stands in one event only must not stand
    in the name of another. It holds each such value once.

    Args:
        options: with ``anonymize`` set.
    """

    def __init__(self, options: ExportOptions) -> None:
        kept = {_plain(name) for name in options.anonymize_keep}
        given = {_plain(name) for name in options.anonymize_fields}
        self._personal = (given | set(map(_plain, PERSONAL))) - kept
        self._kept = kept
        self._harmless = set(map(_plain, HARMLESS)) - given
        self._textual = set(map(_plain, TEXTUAL)) - kept - given
        self._cases_stay = "case" in kept
        self._hashed = options.anonymize == "hash"
        self._token = _tokens(options.anonymize_key or secrets.token_bytes(32))
        self._kinds: dict[str, str] = {}
        self._people: set[str] = set()
        self._shown: dict[str, bool] = {}  # text that would stay, and whether it may
        self._learning = False

    def learn(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Find out, from all rows, who is told of and which text that would stay tells of them."""
        self._learning = True
        for row in rows:
            self.row(row)
        self._learning = False
        whole = "\n".join(self._shown).casefold()
        words = set(_WORDS.split(whole))
        found = {
            each
            for each in map(str.casefold, self._people)
            if (each in whole if len(each) > 2 else each in words)
        }
        for text in self._shown:
            self._shown[text] = not (
                _MAIL.search(text) or any(_tells(text.casefold(), each) for each in found)
            )
        self._people.clear()

    def of(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """The rows, anonymised."""
        return map(self.row, rows)

    def row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """One nested row, anonymised."""
        clean: dict[str, Any] = {}
        case = row.get("case")
        for key, value in row.items():
            shown = _SHOWN.get(key)
            if key in NESTED:
                clean[key] = self._mapping(value, "")
            elif shown == PLACE or (key == "sample_id" and value == case):
                clean[key] = None if value is None else self._node_id(value)
            elif shown == NAME:
                clean[key] = None if value is None else self._show(value)
            elif key == "datetime":
                clean[key] = value
            elif key != "event_id":
                found = self._value(value, key, "")
                clean[key] = None if found is _GONE else found
            else:
                clean[key] = None  # keeps its place
        clean["event_id"] = f"{clean['run']}-{clean['node']}-{row['sequence']}"
        if row["event"] == TRIAL_STOP:
            error = row["metadata"].get("error")
            if isinstance(error, str) and _PLACE.fullmatch(error):
                clean["metadata"]["error"] = self._show(error)
        elif row["event"] == LOG and isinstance(row["metadata"].get("name"), str):
            # The name of a metric, as the keys of what is recorded are.
            clean["metadata"].update(self._log(row["metadata"]))
        return clean

    def _log(self, metadata: Mapping[str, Any]) -> dict[str, str]:
        name = metadata["name"]
        shown = {"name": self._show(name) if _KEY.fullmatch(name) else self._token(name)}
        if metadata.get("best") in (MIN, MAX):
            shown["best"] = metadata["best"]
        return shown

    # --- values --------------------------------------------------------------------------------

    def _mapping(self, mapping: Mapping[Any, Any], kind: str) -> dict[str, Any]:
        clean: dict[str, Any] = {}
        for key, value in mapping.items():
            found = self._value(value, str(key), kind)
            name = self._key(str(key))
            if found is not _GONE and name is not None:
                clean[name] = found
        return clean

    def _key(self, key: str) -> str | None:
        if _KEY.fullmatch(key):
            shown = self._show(key)
            return shown if shown == key or self._hashed else None
        return self._token(key) if self._hashed else None

    def _value(self, value: Any, key: str, kind: str) -> Any:
        """``value``, or what may be shown of it.

        Args:
            key: under which it stands.
            kind: of the field around it, where that decides: ``personal`` or ``textual``.
        """
        kind = kind or self._kind(key)
        if value is None or isinstance(value, (bool, datetime)):
            return value
        if isinstance(value, (int, float)) and kind != "personal":
            return value
        if isinstance(value, (str, int, float)):
            return self._leaf(str(value), kind)
        below = kind if kind in ("personal", "textual") else ""
        if isinstance(value, Mapping):
            return self._mapping(value, below)
        if isinstance(value, (list, tuple)):
            items = [self._value(item, key, below) for item in value]
            return [item for item in items if item is not _GONE]
        return _GONE

    def _leaf(self, text: str, kind: str) -> Any:
        if kind == "personal":
            if self._learning and text:
                self._people.add(text)
            return self._token(text) if self._hashed and text else _GONE
        label = 0 < len(text) <= _LABEL and not any(map(str.isspace, text))
        if kind == "kept" or (kind == "harmless" and label):
            shown = self._show(text)
            return shown if shown == text or self._hashed else _GONE
        if kind == "textual" or not label:
            return _GONE
        return self._token(text) if self._hashed else _GONE

    def _kind(self, key: str) -> str:
        found = self._kinds.get(key)
        if found is None:
            parts = key.split(".")
            names = {_plain("".join(parts[start:])) for start in range(len(parts))}
            kinds = {
                "kept": self._kept,
                "personal": self._personal,
                "textual": self._textual,
                "harmless": self._harmless,
                "other": names,
            }
            found = next(kind for kind, known in kinds.items() if not names.isdisjoint(known))
            if len(self._kinds) < 65536:
                self._kinds[key] = found
        return found

    def _show(self, value: Any) -> str:
        """Text that stays, unless it tells of somebody."""
        text = str(value)
        if text in _OURS:
            return text
        if self._learning:
            self._shown[text] = True
            return text
        return text if self._shown.get(text, False) else self._token(text)

    def _node_id(self, value: Any) -> str:
        """Of a test or case: the place stays, parameters (which may be prompts) become a token."""
        if self._cases_stay:
            return self._show(value)
        head, bracket, parameters = str(value).partition("[")
        if "::" not in head or not _NODE_ID.fullmatch(head):
            return self._token(str(value))
        shown = self._show(head)
        return f"{shown}[{self._token(parameters)}]" if bracket else shown


def _plain(name: str) -> str:
    """``userId``, ``USER-ID`` and ``user_id`` are one field."""
    return name.lower().replace("_", "").replace("-", "").replace(".", "")


def _tells(text: str, person: str) -> bool:
    return person in text if len(person) > 2 else person in _WORDS.split(text)


def _tokens(key: bytes) -> Callable[[str], str]:
    @lru_cache(maxsize=65536)
    def token(text: str) -> str:
        # 80 bits: among ten million values two have the same token with a chance of 1 in 10^10.
        data = text.encode("utf-8", "surrogatepass")
        return f"anon-{hmac.digest(key, data, 'sha256').hex()[:20]}"

    return token
