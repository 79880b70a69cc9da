"""Policy variables such as `${aws:username}` and `${aws:PrincipalTag/sorry:namespace}`.

AWS (IAM User Guide, `reference_policies_variables`): in Resource and in the string comparisons of Condition, a
variable stands for the value of that condition key in the request; only documents of version 2012-10-17 know
variables, in an older one they are literal text; `${key, 'text'}` gives a default; `${*}`, `${?}` and `${$}` stand
for the characters themselves.

A value that is put in is literal: a `*` in it is no wildcard.
"""

import json
import re
from dataclasses import replace
from typing import Any

from ministack.core import iam_evaluator

_VARIABLE = re.compile(r"\$\{([^}]+)\}")
# `*` and `?` that came out of a variable stand as private-use characters until they are matched.
_AS_LITERAL = {"*": "\ue02a", "?": "\ue03f"}
_FROM_LITERAL = {literal: character for character, literal in _AS_LITERAL.items()}
_NO_VARIABLE = "\ue024{"  # `${` of a document that is too old for variables; matches nothing


def _expand(text: str, context: iam_evaluator.EvalContext, wildcards: bool) -> str:
    """The text with its variables put in. One that has no value stays as it stands, and so matches nothing."""

    def value_of(match: re.Match[str]) -> str:
        key, has_default, default = match.group(1).partition(",")
        key = key.strip()
        value: Any = key if key in ("*", "?", "$") else iam_evaluator._resolve_condition_key(key, context)
        if not isinstance(value, (str, int)):
            if not has_default:
                return match.group(0)
            value = default.strip().strip("'")
        value = str(value)
        return "".join(_AS_LITERAL.get(character, character) for character in value) if wildcards else value

    return _VARIABLE.sub(value_of, text)


def _expand_all(values: Any, context: iam_evaluator.EvalContext, wildcards: bool) -> Any:
    if isinstance(values, str):
        return _expand(values, context, wildcards)
    if isinstance(values, list):
        return [_expand_all(value, context, wildcards) for value in values]
    return values


def apply() -> None:
    first_match = iam_evaluator._first_match
    conditions_met = iam_evaluator._conditions_met
    parse_policy_document = iam_evaluator.parse_policy_document
    compiled: dict[tuple[str, bool], re.Pattern[str]] = {}

    def first_match_expanded(context, statements, effect):
        # One by one and lazily: expansion costs, and most statements carry no variable.
        for statement in statements:
            if any("${" in text for text in (*statement.resources, *statement.not_resources)):
                statement = replace(
                    statement,
                    resources=_expand_all(statement.resources, context, True),
                    not_resources=_expand_all(statement.not_resources, context, True),
                )
            found = first_match(context, [statement], effect)
            if found is not None:
                return found
        return None

    def conditions_met_expanded(conditions, context):
        if not conditions or "${" not in json.dumps(conditions):
            return conditions_met(conditions, context)
        expanded = {}
        for operator, keys in conditions.items():
            wildcards = "like" in operator.lower() or "arn" in operator.lower()
            expanded[operator] = (
                {key: _expand_all(value, context, wildcards) for key, value in keys.items()} if isinstance(keys, dict) else keys
            )
        return conditions_met(expanded, context)

    def parse_by_version(document):
        if isinstance(document, str):
            try:
                document = json.loads(document)
            except ValueError:
                return []
        if isinstance(document, dict) and document.get("Version", "2008-10-17") != "2012-10-17":
            text = json.dumps(document)
            if "${" in text:
                document = json.loads(text.replace("${", _NO_VARIABLE))
        return parse_policy_document(document)

    def compile_pattern(pattern: str, ignore_case: bool) -> re.Pattern[str]:
        key = (pattern, ignore_case)
        if key not in compiled:
            parts = []
            for character in pattern:
                wildcard = {"*": ".*", "?": "."}.get(character)
                parts.append(wildcard or re.escape(_FROM_LITERAL.get(character, character)))
            flags = re.DOTALL | (re.IGNORECASE if ignore_case else 0)
            compiled[key] = re.compile("^" + "".join(parts) + r"\Z", flags)
        return compiled[key]

    iam_evaluator._first_match = first_match_expanded
    iam_evaluator._conditions_met = conditions_met_expanded
    iam_evaluator.parse_policy_document = parse_by_version
    iam_evaluator._fnmatch_compile = compile_pattern
