"""The API for code under test: emit events (`execute`, `span`) and listen to them (`attach`).

`pytest_crucible.capture.bus`, `capture.span` and `capture.correlation` implement it.
"""

from pytest_crucible.capture.bus import HANDLER_FAILURE as HANDLER_FAILURE
from pytest_crucible.capture.bus import Handler as Handler
from pytest_crucible.capture.bus import HandlerInfo as HandlerInfo
from pytest_crucible.capture.bus import attach as attach
from pytest_crucible.capture.bus import attach_many as attach_many
from pytest_crucible.capture.bus import detach as detach
from pytest_crucible.capture.bus import enabled as enabled
from pytest_crucible.capture.bus import execute as execute
from pytest_crucible.capture.bus import list_handlers as list_handlers
from pytest_crucible.capture.correlation import correlate as correlate
from pytest_crucible.capture.correlation import current_correlation_id as current_correlation_id
from pytest_crucible.capture.span import Span as Span
from pytest_crucible.capture.span import current_span_id as current_span_id
from pytest_crucible.capture.span import span as span
