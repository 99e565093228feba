"""``stop="decided"``: skips further trials of an experiment once its claims are decided.

When a trial begins and when it ends, its process writes so, and what the claims bet on, into a file
of its own in the run folder. Before each trial, every process reads what the others have written,
and bets in the order in which cases began. The first that finds all claims decided says so in a
file of the experiment.
Workers on other hosts see only their own trials. A running trial is never cut off.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from pytest_crucible import _clock
from pytest_crucible._errors import DefinitionError
from pytest_crucible._files import slug
from pytest_crucible._text import plural
from pytest_crucible.analysis.experiment_catalog import catalog_of
from pytest_crucible.analysis.judging import comparison_options
from pytest_crucible.events.pricing import Pricer
from pytest_crucible.metrics.groups import Group, Observations
from pytest_crucible.metrics.piecewise import Piecewise
from pytest_crucible.metrics.trials import SKIPPED, UNFINISHED, Trial
from pytest_crucible.runs.experiment_definition import DECIDED, Definition
from pytest_crucible.session.marker import IDENTITY, TrialIdentity
from pytest_crucible.session.random_order import unit_of
from pytest_crucible.session.trials import TrialHooks
from pytest_crucible.stats.comparison_options import PRIMARY, Options, row_of, rows_of
from pytest_crucible.stats.expression import Expectation, parse
from pytest_crucible.stats.live_claims import (
    Begun,
    Claimed,
    Ended,
    LiveClaim,
    LiveClaims,
    kind_of,
    levels_at_most,
    live_metric,
)
from pytest_crucible.stats.metric_samples import totals_of

SUFFIX = ".ended.jsonl"
FLAG = ".decided"


def deciding(definition: Definition) -> list[Expectation]:
    """Return the expectations that have to be decided before an experiment may stop.

    Raises:
        DefinitionError: there is none, or one that cannot be judged before all trials have run.
    """
    claims = [parse(text, definition.conditions) for text in definition.expect]
    if definition.primary:
        wanted = rows_of(definition.primary)
        chosen = [claim for claim in claims if row_of(claim.metric) in wanted]
        if not chosen:
            raise DefinitionError(
                f"stop={DECIDED!r}: no claim of expect= is about primary={definition.primary!r}; "
                f"valid: {', '.join(dict.fromkeys(claim.metric for claim in claims))}"
            )
        claims = chosen
    catalog = catalog_of(definition, definition.conditions)
    for claim in claims:
        if live_metric(claim, catalog) is None:
            raise DefinitionError(
                f"stop={DECIDED!r}: {claim.text!r} cannot be judged before all trials have run; "
                "name with primary= the claims that decide: on rates, on means of numbers whose "
                "range has two ends, and, of one arm, on percentiles"
            )
    return claims


def check_stop(definition: Definition, plan: Iterable[TrialIdentity]) -> None:
    """Refuse an experiment that could never stop, before any test runs.

    Raises:
        pytest.UsageError: one line that names a test of it.
    """
    try:
        deciding(definition)
    except DefinitionError as error:
        test = next(each.test for each in plan if each.definition.name == definition.name)
        raise pytest.UsageError(f"{test}: @pytest.mark.experiment: {error}") from error


@dataclass(slots=True)
class _Spent:
    """What the trials of one condition took, and how many have ended."""

    ended: int = 0
    ran: int = 0
    ms: float = 0.0
    usd: float | None = None


_Said = tuple[str, Begun | Ended, _Spent]
"""Name of the experiment, what trials of it said, and what they took."""


class _Race:
    """One experiment on its way to its decision."""

    def __init__(
        self,
        definition: Definition,
        claimed: Claimed,
        levels: Mapping[str, float],
        identities: Iterable[TrialIdentity],
    ) -> None:
        self.definition = definition
        catalog = catalog_of(definition, definition.conditions)
        chosen = {claim.text for claim in deciding(definition)}
        self.claims = [
            LiveClaim(claim, condition, metric, levels[kind_of(claim)])
            for claim, condition in claimed.claims()
            if claim.text in chosen and (metric := live_metric(claim, catalog)) is not None
        ]
        trials = list(identities)
        self.planned = Counter(each.condition for each in trials)
        self.units = Counter(map(unit_of, trials))
        self.begun = Counter[str]()  # trials that this process has begun, by unit
        self.live = LiveClaims(self.claims, self.units, definition.conditions)
        self.spent: dict[str, _Spent] = {}
        self.blocks = False

    def add(self, said: Begun | Ended, spent: _Spent) -> None:
        """Add what trials said and took."""
        if isinstance(said, Begun):
            self.live.begin(said)
            return
        so_far = self.spent.setdefault(said.condition, _Spent())
        so_far.ended += spent.ended
        so_far.ran += spent.ran
        so_far.ms += spent.ms
        if spent.usd is not None:
            so_far.usd = (so_far.usd or 0.0) + spent.usd
        self.blocks |= said.inside is not None
        self.live.add(said)

    def text(self, workers: int) -> str:
        """``decided after 120 of 400 trials, about $1.90 saved``."""
        ran = sum(each.ran for each in self.spent.values())
        if self.blocks:
            return f"decided after {plural(ran, 'case')}"
        usd, seconds = 0.0, 0.0
        for condition, each in self.spent.items():
            left = max(0, self.planned[condition] - each.ended) / max(1, each.ran)
            usd += left * (each.usd or 0.0)
            seconds += left * each.ms / 1000 / workers
        total = sum(self.planned.values())
        return f"decided after {ran:,} of {total:,} trials{_saved(usd, seconds)}"


def _saved(usd: float, seconds: float) -> str:
    if usd > 0:
        return f", about ${usd:,.2f} saved" if usd >= 0.1 else f", about ${usd:.2g} saved"
    for unit, size in (("h", 3600.0), ("min", 60.0), ("s", 1.0)):
        if seconds >= size:
            amount = seconds / size
            return f", about {amount:,.{0 if amount >= 10 else 1}f} {unit} saved"
    return ""


class Stopping:
    """Judges while trials run, and skips those that are not needed.

    Args:
        hooks: of this process.
        pricer: the same as in the summary.
        definitions: all experiments of the session.
        plan: all trials of the session.
        workers: number of processes that run trials.
        baselines: number of recorded runs that the session is compared with.

    Raises:
        DefinitionError: an experiment could never stop.
    """

    def __init__(
        self,
        hooks: TrialHooks,
        pricer: Pricer,
        definitions: Mapping[str, Definition],
        plan: Sequence[TrialIdentity],
        workers: int,
        baselines: int,
    ) -> None:
        self._hooks = hooks
        recording = hooks.recording
        self._pieces = Piecewise(recording.store, recording.node, (pricer,))
        self._workers = workers
        claimed = {name: _claimed(definition) for name, definition in definitions.items()}
        levels = levels_at_most(claimed.values(), baselines)
        self._races = {
            name: _Race(definition, claimed[name], levels, _trials_of(name, plan))
            for name, definition in definitions.items()
            if definition.stop == DECIDED
        }
        self._node = recording.node
        self._folder = recording.folder / "nodes"
        self._own = self._folder / f"{slug(recording.node)}{SUFFIX}"
        self._read: dict[Path, int] = {}
        self._units: dict[str, str] = {}  # of the tests of this process that have begun
        self._admitted: set[str] = set()
        self._decided: dict[str, str] = {}

    # Around all attempts of a trial: one that is run again has not ended.
    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        identity = item.stash.get(IDENTITY, None)
        if identity is not None and identity.trial > 0:
            self._begin(identity, None if nextitem is None else nextitem.stash.get(IDENTITY, None))
        result = yield
        self._catch_up()
        return result

    # Not a wrapper, and first, for the reasons that `Budget` gives.
    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        identity = item.stash.get(IDENTITY, None)
        if identity is None or identity.trial < 0 or identity.test in self._admitted:
            return
        text = self._decided_now(identity.definition.name)
        if text is not None:
            raise pytest.skip.Exception(text, _use_item_location=True)
        self._admitted.add(identity.test)

    def _begin(self, identity: TrialIdentity, after: TrialIdentity | None) -> None:
        """Say that a trial begins, and what its process goes on with."""
        name, unit = identity.definition.name, unit_of(identity)
        race = self._races.get(name)
        if race is None or name in self._decided:
            return
        self._units[identity.test] = unit
        race.begun[unit] += 1
        goes_on = after is None or after.definition.name != name or unit_of(after) == unit
        split = not goes_on and race.begun[unit] < race.units[unit]
        self._tell([(name, Begun(unit, _clock.wall_ns() / 1000, self._node, split), _Spent())])

    def decided_in_loop(self, experiment: str) -> str | None:
        """Return the same as for a trial that is about to begin, between two blocks of a test."""
        if experiment not in self._races:
            return None
        self._catch_up()
        return self._decided_now(experiment)

    def _decided_now(self, experiment: str) -> str | None:
        """Return why no further trial of an experiment is needed; None if some are."""
        race = self._races.get(experiment)
        if race is None:
            return None
        if experiment not in self._decided:
            self._bet(self._heard())
            flag = self._folder / f"{slug(experiment)}{FLAG}"
            text = _read(flag)
            if not text and race.live.decided:
                text = _announced(flag, race.text(self._workers))
            if text:
                self._decided[experiment] = text
        found = self._decided.get(experiment)
        if found is not None:
            self._hooks.note_decided(found)
        return found

    def _catch_up(self) -> None:
        """Bet on the trials of this process that have ended since the last call."""
        observations = self._pieces.new()
        if observations is None:
            return
        said = list(self._ended_in(observations))
        if said:
            self._tell(said)

    def _tell(self, said: list[_Said]) -> None:
        """Bet on what trials of this process say, and let the other processes know."""
        self._bet([*said, *self._heard()])
        lines = [json.dumps([name, asdict(each), asdict(spent)]) for name, each, spent in said]
        try:
            with self._own.open("a", encoding="utf-8") as file:
                file.write("".join(f"{line}\n" for line in lines))
        except OSError:
            pass  # the disk is full: the other processes judge without these trials

    def _ended_in(self, observations: Observations) -> Iterable[_Said]:
        for (name, condition), group in observations.groups.items():
            race = self._races.get(name)
            if race is None:
                continue
            parts = {
                claim.expectation.text: claim.parts(group)
                for claim in race.claims
                if condition in (claim.condition, claim.against)
            }
            usd = _usd_by_case(group)
            by_case: dict[str, list[Trial]] = {}
            for trial in group.trials:
                if trial.block and trial.outcome == UNFINISHED:  # several run at once
                    race.live.hopeless = True
                elif trial.ended_us is not None:
                    by_case.setdefault(trial.case, []).append(trial)
            for case, trials in by_case.items():
                cluster = trials[0].cluster
                own = {text: found[case] for text, found in parts.items() if case in found}
                yield (
                    name,
                    Ended(
                        condition,
                        case,
                        case if cluster is None else f"cluster {cluster}",
                        max(trial.ended_us or 0.0 for trial in trials),
                        len(trials),
                        own,
                        self._units.get(trials[0].test) if trials[0].block else None,
                    ),
                    _Spent(
                        len(trials),
                        sum(trial.outcome != SKIPPED for trial in trials),
                        sum(trial.attempts[-1].duration_ms or 0.0 for trial in trials),
                        usd.get(case),
                    ),
                )

    def _heard(self) -> list[_Said]:
        """Return what the other processes have written since the last call."""
        said: list[_Said] = []
        for path in self._folder.glob(f"*{SUFFIX}"):
            since = self._read.get(path, 0)
            if path == self._own or path.stat().st_size <= since:
                continue
            with path.open("rb") as file:
                file.seek(since)
                whole = file.read().rpartition(b"\n")[0]  # the last line may not be whole yet
            self._read[path] = since + len(whole) + bool(whole)
            for line in whole.splitlines():
                name, each, spent = json.loads(line)
                kind = Ended if "case" in each else Begun
                said.append((name, kind(**each), _Spent(**spent)))
        return said

    def _bet(self, said: list[_Said]) -> None:
        for name, each, spent in sorted(said, key=lambda each: each[1].at_us):
            self._races[name].add(each, spent)


def _read(flag: Path) -> str:
    try:
        return flag.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _announced(flag: Path, text: str) -> str:
    """Say that an experiment is decided; return what the process says that said it first."""
    try:
        with flag.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return _read(flag) or text
    except OSError:
        pass  # the disk is full: the other processes find out themselves
    return text


def _usd_by_case(group: Group) -> dict[str, float]:
    sample = totals_of(group, "cost.total")
    if sample is None or sample.cases is None:
        return {}
    found: dict[str, float] = {}
    for case, usd in zip(sample.cases.tolist(), sample.values.tolist(), strict=True):
        found[sample.names[case]] = found.get(sample.names[case], 0.0) + usd
    return found


def _claimed(definition: Definition) -> Claimed:
    claims = [parse(text, definition.conditions) for text in definition.expect]
    options: Options = comparison_options(definition)
    return Claimed(claims, definition.conditions, len(options.primary or PRIMARY))


def _trials_of(name: str, plan: Iterable[TrialIdentity]) -> list[TrialIdentity]:
    return [each for each in plan if each.definition.name == name and each.trial > 0]
