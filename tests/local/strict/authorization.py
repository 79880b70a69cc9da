"""Lets the other patches take part in the decision on a request.

MiniStack decides on one action, one resource and a set of condition keys per request. AWS often looks at more: the
Service Authorization Reference lists *dependent actions*, which must be allowed too for an operation to succeed. This
module adds nothing by itself; it offers four hooks:

- `adds_condition_keys`: further condition keys for the decision;
- `needs_also`: further actions that must be allowed too;
- `refuses`: a reason to refuse whatever the policies say;
- `observes`: is told of every decision, further checks included.
"""

import contextvars
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ministack.core import iam_actions, iam_evaluator


@dataclass(frozen=True)
class Request:
    """A request that is about to be decided on."""

    service: str
    action: str  # as a policy writes it, `iam:CreateRole`
    body: bytes
    parameters: dict[str, Any]  # of a query-protocol service, form body included

    @property
    def operation(self) -> str:
        return self.action.partition(":")[2]

    def parameter(self, name: str) -> str:
        """A query parameter, or the empty string."""
        return iam_actions._query_param(self.parameters, name)

    def document(self) -> dict[str, Any]:
        """The body of a JSON-protocol request, or an empty object."""
        try:
            document = json.loads(self.body or b"{}")
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}


@dataclass(frozen=True)
class FurtherCheck:
    """Another action that the request's principal must be allowed."""

    action: str
    resource: str
    condition_keys: dict[str, Any] = field(default_factory=dict)


_condition_keys: list[Callable[[Request], dict[str, Any]]] = []
_further_checks: list[Callable[[Request], Iterable[FurtherCheck]]] = []
_refusals: list[Callable[[str, str], str | None]] = []
_observers: list[Callable[[str, str, str, bool], None]] = []

_pending: contextvars.ContextVar[Request | None] = contextvars.ContextVar("strict_pending", default=None)
_refused: contextvars.ContextVar[FurtherCheck | None] = contextvars.ContextVar("strict_refused", default=None)


def adds_condition_keys(provider: Callable[[Request], dict[str, Any]]) -> None:
    """Registers a source of condition keys; names in lower case."""
    _condition_keys.append(provider)


def needs_also(provider: Callable[[Request], Iterable[FurtherCheck]]) -> None:
    """Registers a source of further checks, asked when the request itself is allowed."""
    _further_checks.append(provider)


def refuses(provider: Callable[[str, str], str | None]) -> None:
    """Registers a refusal: given access key id and action, a reason or None."""
    _refusals.append(provider)


def observes(observer: Callable[[str, str, str, bool], None]) -> None:
    """Registers an observer: given access key id, action, resource and whether it was allowed."""
    _observers.append(observer)


def _told(access_key_id: str, action: str, resource: str, result: Any) -> Any:
    for observer in _observers:
        observer(access_key_id, action, resource, result is None)
    return result


def apply() -> None:
    """Hook in before (`request_tag_context`), at (`enforce`) and after (`access_denied_response`) the decision."""
    request_tag_context = iam_actions.request_tag_context
    enforce = iam_evaluator.enforce
    access_denied_response = iam_actions.access_denied_response

    def remember(service: str, iam_action: str, body: bytes, params: dict) -> dict:
        request = Request(service, iam_action, body, params)
        _pending.set(request)
        _refused.set(None)
        context = dict(request_tag_context(service, iam_action, body, params))
        for provider in _condition_keys:
            context.update(provider(request))
        return context

    def decide(access_key_id, iam_action, service, region, resource_arn="*", service_context=None):
        result = enforce(access_key_id, iam_action, service, region, resource_arn=resource_arn, service_context=service_context)
        _told(access_key_id, iam_action, resource_arn, result)
        if result is not None:
            return result
        for refusal in _refusals:
            reason = refusal(access_key_id, iam_action)
            if reason:
                return iam_evaluator.EvalResult("Deny", reason=reason)
        request = _pending.get()
        if request is None or request.action != iam_action:
            return None
        _pending.set(None)
        for provider in _further_checks:
            for check in provider(request):
                result = enforce(
                    access_key_id,
                    check.action,
                    check.action.partition(":")[0],
                    region,
                    resource_arn=check.resource,
                    service_context=check.condition_keys,
                )
                _told(access_key_id, check.action, check.resource, result)
                if result is not None:
                    _refused.set(check)
                    return result
        return None

    def name_what_was_refused(service, action, principal_arn, request_id, **details):
        check = _refused.get()
        if check is not None:
            _refused.set(None)
            action = check.action
            details["resource_arn"] = check.resource
        return access_denied_response(service, action, principal_arn, request_id, **details)

    iam_actions.request_tag_context = remember
    iam_evaluator.enforce = decide
    iam_actions.access_denied_response = name_what_was_refused
