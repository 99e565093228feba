"""Keys of queries: a misspelt one is an error."""

from __future__ import annotations

from typing import Any

import pytest

import pytest_crucible as crucible
from tests.made_events import event
from tests.queries.support import view


def test_a_misspelt_key_is_an_error_not_an_empty_answer() -> None:
    """One line that names what was meant, and what there is; for columns as well."""
    with crucible.experiment("exp") as handle:
        handle.execute("llm.stop", {"duration": 5}, {"model": "gpt", "team": "a"})
    with pytest.raises(TypeError) as caught:
        handle.events.query(modle="gpt")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(
        "query(modle=…): no event here has 'modle'; did you mean 'model'? "
        "valid: duration, team, attempt, attribution, "
    )
    with pytest.raises(TypeError, match="did you mean 'model'"):
        handle.events.columns().query(modle="gpt")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"query[(]taem=…[)].*did you mean 'team'"):
        handle.events.query(team="a", taem="a")
    crucible.cleanup(handle)


def test_what_the_error_names_stays_readable() -> None:
    """A thousand keys of one's own are not all listed."""
    found = view([event(metadata={f"key{number}": 1}) for number in range(1000)])
    with pytest.raises(TypeError, match=r"key0, key1, .*, 960 more, attempt, ") as caught:
        found.query(other=1)
    assert len(str(caught.value)) < 1000


def test_known_keys_are_no_errors_where_no_event_has_the_value() -> None:
    """Of the record, of every event, and of the catalog where it speaks of such names."""
    found = view([event("altar.tool.stop", metadata={"team": "a"}), event("x", {"n": 1})])
    ask: Any = found.query
    for key in ("team", "n", "cohort", "case", "node", "id", "internal", "model", "tool_name"):
        assert ask(**{key: "nobody's"}) == []
    assert found.query(name="altar.*", tool_name="search") == []
    with pytest.raises(TypeError, match="no event here has 'tool_name'"):
        found.query(name="x", tool_name="search")


def test_in_a_view_without_events_no_key_is_misspelt() -> None:
    """Nobody can know what will be recorded; what never was is found out with the first event."""
    with crucible.experiment("exp") as handle:
        early = handle.events.query(user="ann")
        assert early == []
        handle.execute("x", {}, {"user": "ann"})
        assert len(early) == 1
        with pytest.raises(TypeError, match="'usr'"):
            handle.events.query(usr="ann")
        assert handle.events.query(name="y").query(usr="ann") == []
    crucible.cleanup(handle)
