"""Why a trial did not pass: told in one line, and what broke is no wrong answer."""

from __future__ import annotations

import textwrap

import pytest

from tests.session import support

SUITE = """
import asyncio, doctest, sys, unittest
import pytest

pytestmark = pytest.mark.experiment("e")
"""


def tried(pytester: pytest.Pytester, body: str, *arguments: str) -> tuple[str, str | None]:
    """Outcome and error of the only trial."""
    pytester.makepyfile(test_it=SUITE + textwrap.dedent(body))
    support.run(pytester, *arguments)
    (trial,) = support.only(pytester).trials
    return trial.outcome, trial.attempts[-1].error


FAILED = {
    "assert": ("assert 1 == 2", "AssertionError"),
    "fail": ("pytest.fail('the answer')", "Failed"),
    "raises": ("with pytest.raises(KeyError): pass", None),
    "group": ("raise ExceptionGroup('g', [AssertionError('the answer')])", "AssertionError"),
    "nested": (
        "raise ExceptionGroup('g', [ExceptionGroup('h', [AssertionError()]), AssertionError()])",
        "ExceptionGroup",
    ),
}
ERRORED = {
    "connection": ("raise ConnectionError('the answer')", "ConnectionError"),
    "timeout": ("raise asyncio.TimeoutError", "TimeoutError"),
    "exit": ("sys.exit(3)", "SystemExit"),
    "key": ("{}['the answer']", "KeyError"),
    "import": ("import no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing'"),
    "name": (
        "from os import no_such_thing",
        "ImportError: cannot import name 'no_such_thing' from 'os' (*)",
    ),
    "mixed": ("raise ExceptionGroup('g', [AssertionError(), KeyError()])", "ExceptionGroup"),
    "one": ("raise ExceptionGroup('g', [KeyError('the answer')])", "KeyError"),
}


@pytest.mark.parametrize(
    ("outcome", "statement", "error"),
    [("failed", *each) for each in FAILED.values()]
    + [("errored", *each) for each in ERRORED.values()],
    ids=[*FAILED, *ERRORED],
)
def test_what_was_raised_tells_wrong_from_broken(
    pytester: pytest.Pytester, outcome: str, statement: str, error: str | None
) -> None:
    """Assertions and their like are wrong answers, all else broke; neither quotes the answer."""
    from fnmatch import fnmatch

    found, text = tried(pytester, f"def test_it():\n    {statement}\n")
    assert found == outcome
    assert text is not None
    assert fnmatch(text, f"{error or '*'} at test_it.py:6")


def test_a_class_may_name_another_exception_as_its_failure(pytester: pytest.Pytester) -> None:
    """Unittest's own way to say what a failure is."""
    found = tried(
        pytester,
        """
        class TestA(unittest.TestCase):
            class failureException(Exception):
                pass

            def test_a(self):
                self.assertEqual(1, 2)
    """,
    )
    assert found == ("failed", "failureException at test_it.py:11")


@pytest.mark.parametrize(
    ("example", "outcome"), [("1 + 1\n    3", "failed"), ("1 / 0\n    3", "errored")]
)
def test_a_doctest_that_differs_failed_and_one_that_raises_broke(
    pytester: pytest.Pytester, example: str, outcome: str
) -> None:
    """As in any other test."""
    pytester.makeconftest("""
        import pytest

        def pytest_collection_modifyitems(items):
            for item in items:
                item.add_marker(pytest.mark.experiment("e"))
    """)
    pytester.makefile(".txt", test_doc=f"    >>> {example}\n")
    support.run(pytester)
    (trial,) = support.only(pytester).trials
    assert trial.outcome == outcome


def test_a_timeout_is_no_wrong_answer(pytester: pytest.Pytester) -> None:
    """Although pytest-timeout says so with ``pytest.fail``."""
    found = tried(
        pytester,
        """
        @pytest.mark.timeout(0.05)
        def test_a():
            while True:
                pass
    """,
    )
    assert found[0] == "errored"
    assert found[1] is not None
    assert found[1].startswith("Timeout (>0.05s) at test_it.py:")


@pytest.mark.parametrize(
    ("plugins", "advice"),
    [
        (("asyncio", "anyio"), "mark it with @pytest.mark.asyncio, or set asyncio_mode = auto"),
        (("anyio",), "mark it with @pytest.mark.anyio, or install pytest-asyncio"),
        ((), "install pytest-asyncio, anyio or another plugin for async tests"),
    ],
)
def test_an_async_test_that_no_plugin_runs_says_what_to_do(
    pytester: pytest.Pytester, plugins: tuple[str, ...], advice: str
) -> None:
    """In words, and not as a failure in pytest's own files."""
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(test_it=SUITE + "async def test_a():\n    pass\n")
    blocked = [f"no:{name}" for name in ("asyncio", "anyio") if name not in plugins]
    blocked += ["no:cacheprovider", "no:randomly", "no:hypothesispytest"]
    pytester.runpytest_inprocess(*(part for name in blocked for part in ("-p", name)))
    (trial,) = support.only(pytester).trials
    error = f"async def functions are not natively supported: {advice}"
    assert (trial.outcome, trial.attempts[-1].error) == ("errored", error)


FIXTURES = {
    "function": ("@pytest.fixture\ndef client(): open('/no/such/file')", "fixture 'client'"),
    "named": (
        "@pytest.fixture(name='client')\ndef _make(): open('/no/such/file')",
        "fixture 'client'",
    ),
    "inner": (
        "@pytest.fixture\ndef inner(): open('/no/such/file')\n"
        "@pytest.fixture\ndef client(inner): pass",
        "fixture 'inner'",
    ),
    "asked for": (
        "@pytest.fixture\ndef inner(): open('/no/such/file')\n"
        "@pytest.fixture\ndef client(request): request.getfixturevalue('inner')",
        "fixture 'inner'",
    ),
    "setup": (
        "@pytest.fixture\ndef client(): pass\ndef setup_function(): open('/no/such/file')",
        "setup",
    ),
    "teardown": (
        "@pytest.fixture\ndef client():\n    yield\n    open('/no/such/file')",
        "teardown",
    ),
}


@pytest.mark.parametrize("kind", FIXTURES)
def test_a_fixture_that_raises_is_named(pytester: pytest.Pytester, kind: str) -> None:
    """Its name, what it raised and where: that is what the user has to mend."""
    source, what = FIXTURES[kind]
    outcome, error = tried(pytester, f"{source}\n\ndef test_a(client): pass\n")
    line = SUITE.strip().count("\n") + 1 + source[: source.index("open")].count("\n") + 1
    assert (outcome, error) == ("errored", f"{what} raised FileNotFoundError at test_it.py:{line}")


def test_a_wider_fixture_is_named_for_every_trial(pytester: pytest.Pytester) -> None:
    """Pytest sets it up once, and raises its error again for every later test."""
    pytester.makeconftest(
        "import pytest\n@pytest.fixture(scope='session')\n"
        "def client():\n    raise ConnectionError\n"
    )
    pytester.makepyfile(test_it=SUITE + "def test_a(client): pass\ndef test_b(client): pass\n")
    result = support.run(pytester)
    result.stdout.fnmatch_lines(["*2 × fixture 'client' raised ConnectionError at conftest.py:4"])


def test_a_fixture_that_is_not_there_is_named(pytester: pytest.Pytester) -> None:
    """A typing error in each trial is told once, by its name."""
    assert tried(pytester, "def test_a(cliant): pass\n") == (
        "errored",
        "fixture 'cliant' not found",
    )


def test_an_unexpected_pass_is_listed_with_the_failures(pytester: pytest.Pytester) -> None:
    """Nothing was raised; the place is that of the test."""
    found = tried(pytester, "@pytest.mark.xfail(strict=True)\ndef test_a(): pass\n")
    assert found == ("failed", "XPASS(strict) at test_it.py:5")


def test_what_a_library_raised_is_told_by_the_users_line(pytester: pytest.Pytester) -> None:
    """The innermost line of the suite, however deep the library was."""
    found = tried(
        pytester,
        """
        import json

        def ask():
            return json.loads("{")

        def test_a():
            ask()
    """,
    )
    assert found == ("errored", "JSONDecodeError at test_it.py:9")
