"""Anonymised exports: nobody's name and nobody's words in any byte, and joins where asked for."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_crucible._errors import DefinitionError
from pytest_crucible.analysis.run import open_run
from pytest_crucible.events.enrichment import enrich
from pytest_crucible.events.event import LOG, Event
from pytest_crucible.exports.export import export_as
from pytest_crucible.exports.options import ExportOptions
from pytest_crucible.metrics.observations import observe
from pytest_crucible.metrics.summary import summarise
from tests.made_events import MS, event, reference_events, trial, trial_scope

KEY = b"a secret of some length"
HASH = ExportOptions(anonymize="hash", anonymize_key=KEY)
DROP = ExportOptions(anonymize="drop")
each_mode = pytest.mark.parametrize("options", [HASH, DROP], ids=["hash", "drop"])

# What tells of somebody: long enough not to be met by chance in a token or a name of a column.
secrets = st.text("qwzxjkvQWZXJKV", min_size=5, max_size=9).map(lambda text: f"{text}ß")
sentences = st.lists(secrets, min_size=2, max_size=4).map(" ".join)


def write(events: list[Event], options: ExportOptions, path: Path) -> bytes:
    return export_as(lambda: iter(events), path, "jsonl", options).read_bytes()


def read(events: list[Event], options: ExportOptions, folder: Path) -> list[Event]:
    write(events, options, folder / "e.jsonl")
    return list(open_run(folder / "e.jsonl").events)


@st.composite
def telling(draw: st.DrawFn) -> tuple[list[Event], set[str]]:
    """Events that tell of people in every place, and all that must not be told."""
    user, text = draw(secrets), draw(sentences)
    told = {user, *text.split()}
    place = st.sampled_from([user, f"x/{user}-1", user.upper(), text])
    key = st.sampled_from(["user_id", "userId", "prompt", "a.b.content", "note", "model", "n"])
    keys = key | place
    leaf = place | st.integers(-5, 5) | st.booleans() | st.none() | st.binary(max_size=3)
    nested = st.recursive(
        leaf,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=6,
    )
    # Everything that is free text stands where free text stands; names are single words.
    name = st.sampled_from(["call.stop", f"{user}.stop", f"login-{user}"])
    events = [event("login", metadata={"user_id": user})]
    for index in range(draw(st.integers(1, 3))):
        metadata = draw(st.dictionaries(keys, nested, max_size=4))
        case = f"t.py::test_{draw(st.sampled_from(['a', user]))}[{draw(place)}]"
        scope = trial_scope(case, index + 1, condition=draw(st.sampled_from(["arm", user])))
        events.append(event(draw(name), {"m": draw(nested)}, metadata, scope=scope))
    draw(st.randoms(use_true_random=False)).shuffle(events)
    return events, told


@settings(max_examples=60)
@given(telling(), st.sampled_from([HASH, DROP]), st.sampled_from(["csv", "json", "parquet"]))
def test_no_byte_tells_of_anybody(
    made: tuple[list[Event], set[str]], options: ExportOptions, format: str
) -> None:
    """No personal value and no word of free text is left, whatever stands where."""
    events, told = made
    with tempfile.TemporaryDirectory() as folder:
        path = export_as(lambda: iter(events), Path(folder) / f"e.{format}", format, options)
        found = path.read_bytes().decode("latin-1" if format == "parquet" else "utf-8").casefold()
        assert len(list(open_run(path).events)) == len(events)
    for each in told:
        text = each.casefold()
        assert (text.encode().decode("latin-1") if format == "parquet" else text) not in found


@each_mode
def test_numbers_and_metrics_stay(options: ExportOptions, tmp_path: Path) -> None:
    """Success, latency, cost, tokens and trials are those of the run, also if text told them."""
    events = [
        *reference_events(),
        event(metadata={"response": "Yes.", "cost": 0.5}),
        *trial("passed", trial_scope("t.py::t[a]"), duration_ms=3),
        *trial("failed", trial_scope("t.py::t[b]"), error="ValueError at t.py:3"),
    ]
    found = read(events, options, tmp_path)
    after, before = (observe(each).groups["exp", "default"] for each in (found, events))
    assert summarise(after) == summarise(before)
    assert [enrich(each).success for each in found] == [enrich(each).success for each in events]


def test_equal_values_are_equal_tokens(tmp_path: Path) -> None:
    """With the same key the same person is the same token: in all columns, exports and formats."""
    events = [
        event(metadata={"user_id": user, "who": {"email": user}}) for user in ("ann", "bob", "ann")
    ]
    tokens: list[list[object]] = []
    for name in ("csv", "jsonl.gz", "parquet"):
        path = tmp_path / f"e.{name}"
        export_as(lambda: iter(events), path, name, HASH)
        found = list(open_run(path).events)
        tokens.append([each.metadata["user_id"] for each in found])
        assert tokens[-1] == [each.metadata["who"]["email"] for each in found]
    assert tokens[0] == tokens[1] == tokens[2]
    assert sorted(Counter(tokens[0]).values()) == [1, 2]


def test_another_key_gives_other_tokens(tmp_path: Path) -> None:
    """Without the key nobody can join two exports, and by default nobody has it."""
    events = [event(metadata={"user_id": "ann"})]
    other = ExportOptions(anonymize="hash", anonymize_key=b"another secret of ours")
    fresh = ExportOptions(anonymize="hash")
    options = [HASH, other, fresh, fresh]
    found = {read(events, each, tmp_path)[0].metadata["user_id"] for each in options}
    assert len(found) == 4


def test_the_key_is_nowhere(tmp_path: Path) -> None:
    """Neither the file nor the options' text holds the secret."""
    assert KEY not in write([event(metadata={"user_id": "ann"})], HASH, tmp_path / "e.jsonl")
    assert KEY.decode() not in repr(HASH)


def clean(metadata: dict[str, Any], options: ExportOptions, folder: Path) -> dict[str, Any]:
    (found,) = read([event(metadata=metadata)], options, folder)
    return dict(found.metadata)


def test_what_is_known_to_be_harmless_stays(tmp_path: Path) -> None:
    """Numbers, truth values, models and the like are what they were."""
    metadata = {
        "model": "gpt-4o-mini", "gen_ai.request.model": "m", "n": 3, "ok": True, "x": None,
        "tokens": {"prompt": 7}, "status": "ok", "scores": [0.5, 1],
    }  # fmt: skip
    assert clean(metadata, DROP, tmp_path) == metadata
    assert clean(metadata, HASH, tmp_path) == metadata


def test_text_that_is_not_known_becomes_a_token_or_goes(tmp_path: Path) -> None:
    """Labels can still be grouped by where hashed; what reads like text is gone in either case."""
    metadata = {"region": "eu", "note": "two words", "prompt": "Hi", "long": "x" * 101}
    assert clean(metadata, DROP, tmp_path) == {}
    found = clean(metadata, HASH, tmp_path)
    assert list(found) == ["region"]
    assert found["region"].startswith("anon-")
    assert found == clean(metadata, HASH, tmp_path)


def test_fields_can_be_added_and_kept(tmp_path: Path) -> None:
    """Whose names are personal, and which texts may be shown, is the user's to say."""
    options = ExportOptions(
        anonymize="drop", anonymize_fields=["model"], anonymize_keep=["region", "note", "case"]
    )
    metadata = {"region": "eu", "note": "two words", "model": "ann-7b", "provider": "ann-7b inc"}
    (found,) = read([event(metadata=metadata, scope=trial_scope("c"))], options, tmp_path)
    assert found.metadata == {"region": "eu", "note": "two words"}
    assert found.scope is not None
    assert found.scope.case == "c"


def test_a_number_that_is_a_person_is_hidden(tmp_path: Path) -> None:
    """A user's number is a token, in the column and in the metadata."""
    (found,) = read([event(metadata={"user_id": 90210, "n": 90210})], HASH, tmp_path)
    assert str(found.metadata["user_id"]).startswith("anon-")
    assert found.metadata["n"] == 90210


def test_cases_can_still_be_matched(tmp_path: Path) -> None:
    """Parameters, which may be prompts, are tokens; test and file can still be told."""
    scopes = [trial_scope(f"t.py::test_a[{text}]") for text in ("Who am I?", "Who am I?", "x")]
    found = read([event("a.stop", scope=each) for each in scopes], DROP, tmp_path)
    cases = [each.scope.case for each in found if each.scope is not None]
    assert cases[0] == cases[1] != cases[2]
    assert str(cases[0]).startswith("t.py::test_a[anon-")


def test_errors_of_trials_keep_type_and_place(tmp_path: Path) -> None:
    """Our own note of a failure holds no text; anybody else's error goes."""
    scope = trial_scope("t.py::t")
    events = [
        *trial("failed", scope, error="ValueError at t.py:3"),
        *trial("failed", scope, error="ValueError: ann said no"),
        event(measurements={"duration": MS}, metadata={"error": "timeout"}),
    ]
    found = read(events, HASH, tmp_path)
    assert [each.metadata.get("error") for each in found] == [
        None, "ValueError at t.py:3", None, None, None,
    ]  # fmt: skip
    assert enrich(found[-1]).success is False


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"anonymize": "mask"}, "anonymize='mask' is not one of hash, drop"),
        ({"anonymize_fields": ["a"]}, "anonymize is not set"),
        ({"anonymize": "drop", "anonymize_key": KEY}, "is for anonymize='hash'"),
        ({"anonymize": "hash", "anonymize_key": b"short"}, "has 5 bytes, it takes at least 16"),
        (
            {"anonymize": "hash", "anonymize_fields": ["a"], "anonymize_keep": ["a"]},
            "'a' is to be anonymized and to be kept",
        ),
        ({"columns": "event"}, "columns='event': it takes a list of names"),
    ],
)
def test_options_that_make_no_sense(given: dict[str, Any], problem: str) -> None:
    """Each mistake is one line, before anything is written."""
    with pytest.raises(DefinitionError, match=problem):
        ExportOptions(**given)


@each_mode
def test_logged_numbers_keep_their_names(options: ExportOptions, tmp_path: Path) -> None:
    """Two curves stay two, and are found by name, unless the name tells of somebody."""
    scope = trial_scope("t.py::t")
    names = ("loss", "val_score", "annabel.loss")
    events = [event("login", metadata={"user_id": "annabel"}, scope=scope)] + [
        event(LOG, {"value": 0.5, "step": 1}, {"name": name, "best": "min"}, scope=scope)
        for name in names
    ]
    found = read(events, options, tmp_path)[1:]
    kept = [each.metadata["name"] for each in found]
    assert kept[:2] == ["loss", "val_score"]
    assert kept[2].startswith("anon-")
    assert {each.metadata["best"] for each in found} == {"min"}


@each_mode
def test_addresses_in_names_do_not_stay(options: ExportOptions, tmp_path: Path) -> None:
    """A mail address in a name goes even if no field of any event tells whose it is."""
    scope = trial_scope("t.py::t", condition="for-ann@example.com")
    events = [event("sent.ann@example.com", metadata={"phone_number": 4917012345}, scope=scope)]
    written = write(events, options, tmp_path / "e.jsonl")
    assert b"example" not in written
    assert b"4917012345" not in written
