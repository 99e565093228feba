"""``crucible.case(…)``: a case of the experiment that is open here, without its handle."""

from __future__ import annotations

from typing import Any

from pytest_crucible._errors import LifecycleError
from pytest_crucible.capture.recorder import locate
from pytest_crucible.experiments.case_block import CaseBlock, OnFailure
from pytest_crucible.experiments.handle import Experiment


def case(
    case: object,
    /,
    *,
    cluster: object = None,
    on_failure: OnFailure | None = None,
    **metadata: Any,
) -> CaseBlock[Experiment]:
    """Make a trial of a block in the experiment that is open here; see `Experiment.case`.

    Raises:
        DefinitionError: an id is no plain value.
        LifecycleError: no experiment is open here, or several are and nothing says which is meant.
    """
    opened, attribution = locate()
    around = None if opened is None else opened.of_code_under_test
    if around is None or around.handle is None:
        problem = "no experiment is open here"
        if attribution:
            problem = "several experiments are open; use experiment.case(…) of the one you mean"
        raise LifecycleError(f"case({case!r:.80}): {problem}")
    handle: Experiment = around.handle()
    return handle.case(case, cluster=cluster, on_failure=on_failure, **metadata)
