"""Anonymising: remove from exports what identifies people, and what they said.

Numbers, truth values and times stay. Text stays only if it is known to be harmless, such as names
of events, keys and models. All other text is removed or replaced by a token. docs/exports.md
explains the rules.
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
"""Fields that identify a person. Other text that contains their values does not stay either."""

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
"""Words of this package: they say nothing about people, and readers need them."""

_SHOWN = {column.name: column.shown for column in COLUMNS if column.shown}
_KEY = re.compile(r"[A-Za-z_][\w.:/$-]{0,63}", re.ASCII)
_PLACE = re.compile(
    r"[\w.]+( at [\w./\\-]+:\d+)?", re.ASCII
)  # of a failed trial: exception and line
_NODE_ID = re.compile(r"[\w./\\:-]+", re.ASCII)
_MAIL = re.compile(r"[^@\s]@[^@\s]+\.\w")
_WORDS = re.compile(r"\W+|_")
_LABEL = 100
_GONE = object()


class Anonymiser:
    """Removes from rows what identifies people.

    It must see all rows first (`learn`), because the id of a user in one event may be part of the
    name of another event. It keeps every such value once.

    Args:
        options: options with ``anonymize`` set.
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
        self._shown: dict[str, bool] = {}  # text that stays if it names nobody: whether it does
        self._learning = False

    def learn(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Find the people in all rows, and the text that must go because it names them."""
        self._learning = True
        for row in rows:
            self.row(row)
        self._learning = False
        all_text = "\n".join(self._shown).casefold()
        words = set(_WORDS.split(all_text))
        people = {
            person
            for person in map(str.casefold, self._people)
            if (person in all_text if len(person) > 2 else person in words)
        }
        for text in self._shown:
            self._shown[text] = not (
                _MAIL.search(text) or any(_names(text.casefold(), person) for person in people)
            )
        self._people.clear()

    def of(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield the rows, anonymised. `learn` must have seen them all."""
        return map(self.row, rows)

    def row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a nested row, anonymised."""
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
                shown_value = self._value(value, key, "")
                clean[key] = None if shown_value is _GONE else shown_value
            else:
                clean[key] = None  # set below; here for the order of the keys
        clean["event_id"] = f"{clean['run']}-{clean['node']}-{row['sequence']}"
        clean["metadata"].update(self._of_plugin(row["event"], row["metadata"]))
        return clean

    def _of_plugin(self, event: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Return what may be shown of the metadata of the plugin's own events."""
        if event == TRIAL_STOP:
            error = metadata.get("error")
            shown = isinstance(error, str) and _PLACE.fullmatch(error)
            return {"error": self._show(error)} if shown else {}
        if event == TRIAL_START:
            # Like the case: without them, dependent cases would count as independent.
            texts = {key: metadata.get(key) for key in ("cluster", "fingerprint")}
            return {k: self._token(text) for k, text in texts.items() if isinstance(text, str)}
        if event == LOG and isinstance(metadata.get("name"), str):
            return self._log(metadata)  # the name of a metric, like the keys of recorded numbers
        return {}

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
            shown = self._value(value, str(key), kind)
            name = self._key(str(key))
            if shown is not _GONE and name is not None:
                clean[name] = shown
        return clean

    def _key(self, key: str) -> str | None:
        if _KEY.fullmatch(key):
            shown = self._show(key)
            return shown if shown == key or self._hashed else None
        return self._token(key) if self._hashed else None

    def _value(self, value: Any, key: str, kind: str) -> Any:
        """Return what may be shown of ``value``; `_GONE` if nothing may.

        Args:
            value: any value of a row.
            key: its key.
            kind: ``personal`` or ``textual`` if a field around it is; then its key does not matter.
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
        """Return what may be shown of a text in a field of this kind; `_GONE` if nothing may."""
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
        """Return the kind of a field: kept, personal, textual, harmless or other."""
        kind = self._kinds.get(key)
        if kind is None:
            parts = key.split(".")
            names = {_plain("".join(parts[start:])) for start in range(len(parts))}
            kinds = {
                "kept": self._kept,
                "personal": self._personal,
                "textual": self._textual,
                "harmless": self._harmless,
                "other": names,
            }
            kind = next(kind for kind, fields in kinds.items() if not names.isdisjoint(fields))
            if len(self._kinds) < 65536:
                self._kinds[key] = kind
        return kind

    def _show(self, value: Any) -> str:
        """Return a text that stays, or its token if it names somebody."""
        text = str(value)
        if text in _OURS:
            return text
        if self._learning:
            self._shown[text] = True
            return text
        return text if self._shown.get(text, False) else self._token(text)

    def _node_id(self, value: Any) -> str:
        """Return the id of a test or case with a token for its parameters, which may be prompts."""
        if self._cases_stay:
            return self._show(value)
        head, bracket, parameters = str(value).partition("[")
        if "::" not in head or not _NODE_ID.fullmatch(head):
            return self._token(str(value))
        shown = self._show(head)
        return f"{shown}[{self._token(parameters)}]" if bracket else shown


def _plain(name: str) -> str:
    """Return one name for all spellings of a field: ``userId``, ``USER-ID`` and ``user_id``."""
    return name.lower().replace("_", "").replace("-", "").replace(".", "")


def _names(text: str, person: str) -> bool:
    """Whether a text names a person. A value of one or two letters must be a word of its own."""
    return person in text if len(person) > 2 else person in _WORDS.split(text)


def _tokens(key: bytes) -> Callable[[str], str]:
    """Return a function from texts to tokens, which depend on the key (HMAC-SHA-256)."""

    @lru_cache(maxsize=65536)
    def token(text: str) -> str:
        # 80 bits: the chance that two of ten million values share a token is 1 in 10^10.
        data = text.encode("utf-8", "surrogatepass")
        return f"anon-{hmac.digest(key, data, 'sha256').hex()[:20]}"

    return token
