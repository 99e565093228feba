"""The options of an export, apart from its format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from pytest_crucible._errors import DefinitionError

MODES = ("hash", "drop")
MIN_KEY = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """Options of an export; all may be combined.

    Attributes:
        flatten: write dotted keys in JSON and JSONL, as CSV and Parquet always do.
        pretty: write indented JSON; for the format ``json`` only.
        columns: the columns to write, by name or with ``*``: ``["event", "metadata.*"]``. Their
            order does not change. Empty: all columns.
        anonymize: ``hash`` or ``drop``; None writes everything unchanged. See docs/exports.md.
        anonymize_fields: names of further fields that identify people, at any depth.
        anonymize_keep: names of further fields whose text may be shown, like that of models.
        anonymize_key: secret for ``hash``, at least 16 bytes. Exports with the same key can be
            joined. Default: a random key for every export, which is not stored.

    Raises:
        DefinitionError: the options contradict each other, or a value is not allowed.
    """

    flatten: bool = False
    pretty: bool = False
    columns: Sequence[str] = ()
    anonymize: Literal["hash", "drop"] | None = None
    anonymize_fields: Sequence[str] = ()
    anonymize_keep: Sequence[str] = ()
    anonymize_key: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("columns", "anonymize_fields", "anonymize_keep"):
            if isinstance(getattr(self, name), str):
                raise DefinitionError(f"{name}={getattr(self, name)!r}: it takes a list of names")
        if self.anonymize not in (None, *MODES):
            raise DefinitionError(f"anonymize={self.anonymize!r} is not one of {', '.join(MODES)}")
        if self.anonymize is None and (
            self.anonymize_fields or self.anonymize_keep or self.anonymize_key is not None
        ):
            raise DefinitionError("fields and keys for anonymizing, but anonymize is not set")
        if self.anonymize == "drop" and self.anonymize_key is not None:
            raise DefinitionError("a key for anonymizing is for anonymize='hash'")
        if self.anonymize_key is not None and len(self.anonymize_key) < MIN_KEY:
            raise DefinitionError(
                f"the key for anonymizing has {len(self.anonymize_key)} bytes, "
                f"it takes at least {MIN_KEY}"
            )
        both = sorted(set(self.anonymize_fields) & set(self.anonymize_keep))
        if both:
            raise DefinitionError(f"{both[0]!r} is to be anonymized and to be kept")
