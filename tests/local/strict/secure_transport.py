"""Calls are as if they came over TLS.

AWS (IAM User Guide, `reference_policies_condition-keys`): `aws:SecureTransport` says whether a request was sent over TLS, and SDKs send
none without. Here they talk plain HTTP to the loopback, so that a policy which asks for TLS would refuse them all.
"""

from ministack.core import iam_evaluator


def apply() -> None:
    resolve_condition_key = iam_evaluator._resolve_condition_key

    def resolve(key, context):
        return "true" if key.lower() == "aws:securetransport" else resolve_condition_key(key, context)

    iam_evaluator._resolve_condition_key = resolve
