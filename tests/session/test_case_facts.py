"""``case=``, ``cluster=`` and ``slices=`` of the marker: what a test's parameters say."""

from __future__ import annotations

import pytest

from tests.session.support import only, refused, results, run

ROWS = """
import dataclasses, pytest
from pydantic import BaseModel

@dataclasses.dataclass
class Row:
    id: object
    group: str = "g"

class Model(BaseModel):
    id: str
    nested: dict = {}

def helper(row):
    return row["id"] * 2

ROWS = {
    "dict": [{"id": "a", "m": {"p": [1, 2]}}, {"id": "b", "m": {"p": [3, 4]}}],
    "class": [Row("a"), Row("b")],
    "model": [Model(id="a", nested={"k": 1}), Model(id="b", nested={"k": 2})],
    "int": [Row(1), Row(2)],
    "odd": [Row("ü[1]"), Row("a-b::c")],
    "none": [Row(None)], "empty": [Row("")], "control": [Row("a\\x1bb")], "long": [Row("x" * 501)],
    "nan": [Row(float("nan"))],
}
"""


def written(rows: str, keywords: str, more: str = "") -> str:
    return f"""{ROWS}
@pytest.mark.experiment("exp", {keywords})
@pytest.mark.parametrize("row", ROWS[{rows!r}])
def test_it(row):
    pass
{more}
"""


@pytest.mark.parametrize(
    ("rows", "keywords", "cases", "clusters"),
    [
        ("dict", "case='row.id', cluster='row.m.p.0'", ["a", "b"], ["1", "3"]),
        ("class", "case='row.id', cluster='row.group'", ["a", "b"], ["g", "g"]),
        ("model", "case='row.id', cluster='row.nested.k'", ["a", "b"], ["1", "2"]),
        ("int", "case='row.id'", ["1", "2"], [None, None]),
        ("dict", "case=helper", ["aa", "bb"], [None, None]),
        ("dict", "case=lambda **all: all['row']['id']", ["a", "b"], [None, None]),
        ("dict", "case=lambda row, missing='x': missing + row['id']", ["xa", "xb"], [None, None]),
        ("odd", "case='row.id', conditions=['ä', 'b'], trials=2", ["ü[1]", "a-b::c"], [None] * 2),
    ],
)
def test_parameters_name_case_and_cluster(
    pytester: pytest.Pytester, rows: str, keywords: str, cases: list[str], clusters: list[str]
) -> None:
    """Keys, attributes, indices and functions, under every condition and in every repetition."""
    pytester.makepyfile(written(rows, keywords))
    assert run(pytester).ret == 0
    found = dict.fromkeys((trial.case, trial.cluster) for trial in only(pytester).trials)
    assert list(found) == list(zip(cases, clusters, strict=True))
    assert all(trial.fingerprint and not trial.positional for trial in only(pytester).trials)


@pytest.mark.parametrize(
    ("rows", "keywords", "problem"),
    [
        ("dict", "case='rwo.id'", "case='rwo.id': no parameter 'rwo'; the test has row"),
        ("dict", "case='row.idd'", "case='row.idd': row has no key 'idd'; it has id, m"),
        ("class", "case='row.idd'", "case='row.idd': row (Row) has no attribute 'idd'"),
        (
            "dict",
            "cluster='row.m.p.7'",
            "cluster='row.m.p.7': row.m.p has 2 items, none with the index 7",
        ),
        ("dict", "case=lambda r: 1", "case=<lambda>: no parameter 'r'; the test has row"),
        ("dict", "case=lambda row: 1 / 0", "case=<lambda>: ZeroDivisionError: division by zero"),
        (
            "dict",
            "case=5",
            "case must be a path such as 'row.id', or a function of parameters, not 5",
        ),
        ("dict", "slices=['row.x']", "slices='row.x': row has no key 'x'; it has id, m"),
        ("dict", "slices=['rwo.x']", "slices='rwo.x': no parameter 'rwo'; the test has row"),
        ("dict", "slices='row.x'", "slices must be a list of strings, not one string: ['row.x']?"),
        ("none", "case='row.id'", "case='row.id': case must be a text or a number, not None"),
        ("nan", "case='row.id'", "case='row.id': case must be a text or a number, not nan"),
        (
            "empty",
            "case='row.id'",
            "case='row.id': case must be printable text of up to 500 characters, not ''",
        ),
        (
            "control",
            "cluster='row.id'",
            r"cluster='row.id': cluster must be printable text of up to 500 characters, "
            r"not 'a\x1bb'",
        ),
    ],
)
def test_what_is_not_there_is_one_line(
    pytester: pytest.Pytester, rows: str, keywords: str, problem: str
) -> None:
    """The line names the test, the keyword and what would be valid."""
    name = pytester.makepyfile(written(rows, keywords)).name
    assert refused(run(pytester)) == f"{name}::test_it[row0]: @pytest.mark.experiment: {problem}"


def test_a_test_without_parameters_says_so(pytester: pytest.Pytester) -> None:
    """There is nothing to name."""
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.experiment("exp", case="row")
        def test_it(): pass
        """
    )
    assert refused(run(pytester)).endswith("case='row': no parameter 'row': the test has none")


def test_slices_come_from_parameters_metadata_and_tags(pytester: pytest.Pytester) -> None:
    """A list puts a case into several; None into none."""
    keywords = "slices=['row.m.p', 'who', 'tags'], metadata={'who': 'me'}, tags=['t', 'u']"
    pytester.makepyfile(written("dict", keywords))
    assert run(pytester).ret == 0
    assert [dict(trial.slices) for trial in only(pytester).trials] == [
        {"row.m.p": (p, q), "who": ("me",), "tags": ("t", "u")} for p, q in (("1", "2"), ("3", "4"))
    ]


def test_a_slice_that_no_case_has_is_told(pytester: pytest.Pytester) -> None:
    """It may come from the metadata of a block, so it is known only in the end."""
    pytester.makepyfile(written("dict", "slices=['lnag', 'row.id']"))
    result = run(pytester)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["  slices='lnag': no case of this run has it"])


def test_tests_of_one_experiment_add_their_slices(pytester: pytest.Pytester) -> None:
    """Each marker's names count."""
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.experiment("exp", slices=["a"])
        @pytest.mark.parametrize("a", [1, 2])
        def test_one(a): pass
        @pytest.mark.experiment("exp", slices=["b"])
        @pytest.mark.parametrize("b", [1, 2])
        def test_two(b): pass
        """
    )
    result = run(pytester)
    result.stdout.fnmatch_lines(["*by a,*", "*by b,*"])
    result.stdout.no_fnmatch_line("problem:*")


TWO = """
@pytest.mark.experiment("exp", case="row.id", cluster="row.group")
@pytest.mark.parametrize("row", [Row("a", "h")])
def test_other(row):
    pass
"""


def test_ids_and_clusters_that_contradict_each_other_are_told(pytester: pytest.Pytester) -> None:
    """An id for two contents, and a case in two clusters; nothing is lost."""
    pytester.makepyfile(written("class", "case='row.id', cluster='row.group'", TWO))
    result = run(pytester)
    result.stdout.fnmatch_lines(
        [
            "problem: case 'a' of 'exp' stands for different content: give every case an id of *",
            "problem: case 'a' of 'exp' is in cluster 'g' and in cluster 'h': a case belongs *",
        ]
    )
    assert len(only(pytester).trials) == 3


def test_the_same_id_in_two_tests_is_one_case(pytester: pytest.Pytester) -> None:
    """With a trial in each."""
    pytester.makepyfile(
        f"""{ROWS}
@pytest.mark.experiment("exp", case="row.id")
@pytest.mark.parametrize("row", ROWS["class"])
class TestBoth:
    def test_one(self, row): pass
    def test_two(self, row): pass
"""
    )
    result = run(pytester)
    result.stdout.no_fnmatch_line("problem:*")
    assert sorted((t.case, t.trial) for t in only(pytester).trials) == [
        ("a", 1), ("a", 2), ("b", 1), ("b", 2),
    ]  # fmt: skip


def test_a_fixture_that_a_parameter_goes_to(pytester: pytest.Pytester) -> None:
    """Indirect parameters have the values of the list, before the fixture changes them."""
    pytester.makepyfile(
        f"""{ROWS}
@pytest.fixture
def row(request): return "ready"
@pytest.mark.experiment("exp", case="row.id")
@pytest.mark.parametrize("row", ROWS["class"], indirect=True)
def test_it(row): assert row == "ready"
"""
    )
    assert run(pytester).ret == 0
    assert [trial.case for trial in only(pytester).trials] == ["a", "b"]


def test_positions_are_told_from_names(pytester: pytest.Pytester) -> None:
    """``row0`` says where a case stands; a text, a number and an id of the author's say what."""
    pytester.makepyfile(
        """
        import pytest
        exp = pytest.mark.experiment
        @exp("dicts")
        @pytest.mark.parametrize("row", [{"q": 1}, {"q": 2}])
        def test_dicts(row): pass
        @exp("texts")
        @pytest.mark.parametrize("row", ["a", "b"])
        def test_texts(row): pass
        @exp("ids")
        @pytest.mark.parametrize("row", [pytest.param({"q": 1}, id="q1")])
        def test_ids(row): pass
        """
    )
    run(pytester)
    positional = {
        experiment.definition.name: {trial.positional for trial in experiment.trials}
        for experiment in results(pytester).experiments
    }
    assert positional == {"dicts": {True}, "texts": {False}, "ids": {False}}


@pytest.mark.parametrize("workers", ["-n2"])
def test_workers_say_the_same(pytester: pytest.Pytester, workers: str) -> None:
    """Cases, clusters and slices do not depend on who runs a test."""
    pytester.makepyfile(written("dict", "case='row.id', cluster='row.m.p.0', slices=['row.m.p.1']"))
    assert run(pytester, workers).ret == 0
    found = [(t.case, t.cluster, t.slices["row.m.p.1"]) for t in only(pytester).trials]
    assert sorted(found) == [("a", "1", ("2",)), ("b", "3", ("4",))]
