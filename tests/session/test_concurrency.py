"""Concurrency inside a test: what each way of it records, and how it was attributed."""

from __future__ import annotations

from collections import Counter

import pytest

from pytest_crucible.events.event import Event
from tests.session import support

HEAD = """
import asyncio, contextvars, multiprocessing, os, subprocess, sys, threading
from concurrent.futures import ThreadPoolExecutor
import pytest
import pytest_crucible as crucible

EACH = {each}

def work():
    for n in range(EACH):
        crucible.telemetry.execute("work.done", {{"n": n}})

def joined_work(ticket):
    with crucible.join(ticket):
        work()

CHILD = "import pytest_crucible as c\\nwith c.join():\\n "
CHILD += EACH * "c.telemetry.execute('work.done');"
"""
BODY = """
@pytest.mark.experiment("concurrent")
@pytest.mark.parametrize("n", range({trials}))
def test_{name}(n, experiment):
{body}
"""
EACH, TRIALS = 3, 2
WAYS = {
    "gather": (
        "context",
        2,
        """
        async def one():
            await asyncio.sleep(0)
            work()
        async def all_of_them():
            await asyncio.gather(one(), one())
        asyncio.run(all_of_them())
        """,
    ),
    "to_thread": (
        "context",
        2,
        """
        async def all_of_them():
            await asyncio.gather(asyncio.to_thread(work), asyncio.to_thread(work))
        asyncio.run(all_of_them())
        """,
    ),
    "bare_pool": (
        "sole",
        2,
        """
        with ThreadPoolExecutor(2) as pool:
            [each.result() for each in [pool.submit(work), pool.submit(work)]]
        """,
    ),
    "pool_with_context": (
        "context",
        2,
        """
        with ThreadPoolExecutor(2) as pool:
            jobs = [pool.submit(contextvars.copy_context().run, work) for _ in range(2)]
            [each.result() for each in jobs]
        """,
    ),
    "thread": (
        "sole",
        1,
        """
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        """,
    ),
    "fork": (
        "context",
        2,
        """
        forking = multiprocessing.get_context("fork")
        children = [forking.Process(target=work) for _ in range(2)]
        [child.start() for child in children]
        [child.join() for child in children]
        assert [child.exitcode for child in children] == [0, 0]
        """,
    ),
    "bare_fork": (
        "context",
        2,
        """
        child = os.fork()
        if not child:
            work()
            os._exit(0)
        os.waitpid(child, 0)
        work()
        """,
    ),
    "spawn": (
        "context",
        1,
        """
        spawning = multiprocessing.get_context("spawn")
        child = spawning.Process(target=joined_work, args=(experiment.ticket,))
        child.start()
        child.join()
        assert child.exitcode == 0
        """,
    ),
    "subprocess": (
        "context",
        1,
        """
        command = [sys.executable, "-c", CHILD]
        subprocess.run(command, env=experiment.child_env(), check=True)
        """,
    ),
}


def source(*names: str) -> str:
    parts = [HEAD.format(each=EACH)]
    for name in names:
        body = WAYS[name][2].strip("\n").removesuffix("        ").replace("\n    ", "\n")[4:]
        parts.append(BODY.format(name=name, trials=TRIALS, body=body))
    return "\n".join(parts)


def counted(events: list[Event]) -> Counter[tuple[str | None, str]]:
    return Counter(
        (event.scope.test if event.scope else None, event.attribution) for event in events
    )


def expected(*names: str) -> dict[tuple[str | None, str], int]:
    return {
        (f"test_ways.py::test_{name}[{n}]", WAYS[name][0]): WAYS[name][1] * EACH
        for name in names
        for n in range(TRIALS)
    }


@pytest.mark.parametrize("way", WAYS)
def test_every_event_belongs_to_its_trial(pytester: pytest.Pytester, way: str) -> None:
    """None is lost, and the record tells how each was attributed."""
    pytester.makepyfile(test_ways=source(way))
    done = support.run(pytester, "-p", "no:xdist")
    assert done.ret == pytest.ExitCode.OK
    assert counted(support.events(pytester)) == expected(way)
    assert "incomplete" not in done.stdout.str()


def test_workers_are_no_different(pytester: pytest.Pytester) -> None:
    """All the ways under -n2: forked and joined processes belong to their worker."""
    pytester.makepyfile(test_ways=source(*WAYS))
    done = support.run(pytester, "-n2")
    assert done.ret == pytest.ExitCode.OK
    assert counted(support.events(pytester)) == expected(*WAYS)
    assert "incomplete" not in done.stdout.str()
    nodes = {str(node["name"]).partition("-")[0] for node in support.results(pytester).nodes}
    assert nodes == {"gw0", "gw1"}


def test_what_cannot_be_attributed_is_counted_and_explained(pytester: pytest.Pytester) -> None:
    """A thread without context while two experiments are open: kept, but nobody's."""
    pytester.makepyfile(
        """
        import contextvars, threading
        import pytest
        from pytest_crucible import telemetry

        def in_thread(target, *args):
            thread = threading.Thread(target=target, args=args)
            thread.start()
            thread.join()

        @pytest.mark.experiment("whole", scope="session")
        def test_a():
            pass

        @pytest.mark.experiment("part")
        def test_b(experiment):
            in_thread(telemetry.execute, "bare")
            in_thread(experiment.execute, "through.the.handle")
            in_thread(contextvars.copy_context().run, telemetry.execute, "in.context")

        @pytest.mark.experiment("whole", scope="session")
        def test_c():
            pass
        """
    )
    done = support.run(pytester, "-p", "no:xdist")
    assert done.ret == pytest.ExitCode.OK
    found = {
        event.name: (event.scope.experiment if event.scope else None, event.attribution)
        for event in support.events(pytester)
    }
    assert found == {
        "bare": (None, "unattributed"),
        "through.the.handle": ("part", "context"),
        "in.context": ("part", "context"),
    }
    done.stdout.fnmatch_lines(["1 event not attributed: *several experiments were open*"])


def test_a_killed_child_keeps_what_it_recorded(pytester: pytest.Pytester) -> None:
    """A joined subprocess dies of SIGKILL: its events are in, and the run is complete."""
    pytester.makepyfile(
        child="""
        import os, signal
        import pytest_crucible as crucible

        with crucible.join():
            for n in range(7):
                crucible.telemetry.execute("work.done")
            os.kill(os.getpid(), signal.SIGKILL)
        """,
        test_killed="""
        import subprocess, sys
        import pytest

        @pytest.mark.experiment("killed")
        def test_a(experiment):
            done = subprocess.run([sys.executable, "child.py"], env=experiment.child_env())
            assert done.returncode == -9
        """,
    )
    done = support.run(pytester, "-p", "no:xdist")
    assert done.ret == pytest.ExitCode.OK
    assert [event.name for event in support.events(pytester)] == ["work.done"] * 7
    assert "incomplete" not in done.stdout.str()


ASYNC = """
import asyncio
import pytest
from pytest_crucible import telemetry

{fixture}
async def resource():
    telemetry.execute("fixture.setup")
    yield
    telemetry.execute("fixture.teardown")

@pytest.mark.experiment("asynchronous")
@pytest.mark.{mark}
@pytest.mark.parametrize("n", range(2))
async def test_n(n, resource, experiment):
    telemetry.execute("work.done")
    {task}
"""


@pytest.mark.parametrize("plugin", ["asyncio", "anyio"])
def test_async_tests_and_fixtures_belong_to_their_trial(
    pytester: pytest.Pytester, plugin: str
) -> None:
    """pytest-asyncio, and anyio on asyncio and on trio: tests, their tasks, their fixtures."""
    fixture = {"asyncio": "import pytest_asyncio\n@pytest_asyncio.fixture"}
    task = {"asyncio": "await asyncio.gather(asyncio.to_thread(telemetry.execute, 'in.task'))"}
    with_anyio = (
        "import anyio.to_thread; await anyio.to_thread.run_sync(telemetry.execute, 'in.task')"
    )
    pytester.makepyfile(
        ASYNC.format(
            mark=plugin,
            fixture=fixture.get(plugin, "@pytest.fixture"),
            task=task.get(plugin, with_anyio),
        )
    )
    keep = [each for each in support.ARGUMENTS if each not in ("-p", f"no:{plugin}")]
    quiet = [part for each in keep for part in ("-p", each)]
    if plugin == "asyncio":
        quiet += ["-o", "asyncio_default_fixture_loop_scope=function"]  # or it warns
    done = pytester.runpytest_inprocess(*quiet, "-p", "no:xdist")
    assert done.ret == pytest.ExitCode.OK
    trials = support.only(pytester).trials
    assert len(trials) == (2 if plugin == "asyncio" else 2 * 2)
    events = support.events(pytester)
    assert {event.attribution for event in events} == {"context"}
    found = Counter((event.scope.test if event.scope else None, event.name) for event in events)
    names = ("fixture.setup", "work.done", "in.task", "fixture.teardown")
    assert found == {(trial.test, name): 1 for trial in trials for name in names}
    if plugin == "anyio":
        assert {trial.case for trial in trials} >= {
            f"{trials[0].case.partition('[')[0]}[{backend}-{n}]"
            for backend in ("asyncio", "trio")
            for n in range(2)
        }
