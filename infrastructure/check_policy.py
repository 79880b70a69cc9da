#!/usr/bin/env python3
"""Checks the gateway's resource policy as API Gateway has it: read from standard input, as `get-rest-api` gives it.

What the stack was deployed with is in the arguments. Says on standard error what is wrong, one line each, and then fails.
"""

import argparse
import json
import sys

MFA = "WithoutMfaOnlyLookAskAndEnd"
ADMINISTRATION = "AdministrationIsForAdministrators"


def read(text):
    """The document. API Gateway gives it as a string in which quotes are escaped once more."""
    text = text.strip()
    try:
        return json.loads(text)
    except ValueError:
        return json.loads(json.loads(f'"{text}"'))


def each(value):
    """One value, or each of several: API Gateway may write a list of one as that one."""
    return value if isinstance(value, list) else [value]


def named(statement):
    """The principals that a statement's condition exempts; an empty name is nobody."""
    arns = statement.get("Condition", {}).get("ArnNotEquals", {}).get("aws:PrincipalArn", [])
    return sorted(arn for arn in each(arns) if arn)


def faults(policy, arguments):
    """What is wrong with the policy."""
    statements = {statement.get("Sid"): statement for statement in each(policy["Statement"])}
    wanted = {ADMINISTRATION} | ({MFA} if arguments.mfa == "true" else set())
    if set(statements) != wanted:
        yield f"its statements are {', '.join(sorted(map(str, statements)))}, and not {', '.join(sorted(wanted))}"
    apis = {MFA: (arguments.api, "?" * len(arguments.api)), ADMINISTRATION: (arguments.api, "*")}
    for sid, statement in statements.items():
        if (statement.get("Effect"), statement.get("Action")) != ("Deny", "execute-api:Invoke"):
            yield f"{sid} does not deny execute-api:Invoke"
        if statement.get("Principal") not in ("*", {"AWS": "*"}):
            yield f"{sid} is not for everybody"
        resources = each(statement.get("NotResource" if sid == MFA else "Resource", []))
        if not resources:
            yield f"{sid} names no resources"
        for resource in resources:
            if not str(resource).startswith(tuple(f"{arguments.arn}:{api}/v1/" for api in apis.get(sid, ()))):
                yield f"{sid} names `{resource}`, which is nothing of this API's stage `v1`"
    for sid, arns in ((ADMINISTRATION, arguments.administrators), (MFA, arguments.identity_provider_roles)):
        expected = sorted(arn.strip() for arn in arns.split(",") if arn.strip())
        if sid in statements and named(statements[sid]) != expected:
            yield f"{sid} exempts {named(statements[sid])}, and the parameters name {expected}"
    if arguments.mfa == "true":
        condition = statements.get(MFA, {}).get("Condition", {})
        if condition.get("BoolIfExists") != {"aws:MultiFactorAuthPresent": "false"}:
            yield f"{MFA} does not ask for MFA"


def main():
    parser = argparse.ArgumentParser(description="Checks the gateway's resource policy as it is deployed.")
    parser.add_argument("--arn", required=True, help="what stands before the API's id: arn:aws:execute-api:<region>:<account>")
    parser.add_argument("--api", required=True, help="the API's id")
    parser.add_argument("--mfa", required=True, choices=["true", "false"], help="parameter RequireMfa")
    parser.add_argument("--administrators", default="", help="parameter AdministratorArns")
    parser.add_argument("--identity-provider-roles", default="", help="parameter IdentityProviderRoleArns")
    arguments = parser.parse_args()
    try:
        found = list(faults(read(sys.stdin.read()), arguments))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        found = [f"it cannot be read: {error!r}"]
    for fault in found:
        print(f"the gateway's policy: {fault}", file=sys.stderr)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
