"""The patches that make MiniStack decide as AWS does, one module per topic.

MiniStack (PyPI `ministack`, pinned in `requirements.txt`) evaluates IAM well, but leaves gaps that `sorry` depends
on. Each module here closes one, by replacing functions of MiniStack at start; none of MiniStack's own files is
changed. A module opens with what AWS's documentation says and the patch restores, in our words, and names the page.
Each has probes in `probes.py` that pass against the strict server and must *fail* against plain MiniStack: when a
newer MiniStack no longer needs a patch, its probe says so.

Not for: weakening anything. A patch only refuses what AWS refuses, or tells what AWS tells.
"""

from . import (
    api_gateway,
    authorization,
    calls,
    cloudformation_iam,
    decisions,
    iam_arns,
    iam_condition_keys,
    iam_lists,
    iam_names,
    metric_math,
    mfa,
    object_lock,
    own_user,
    pass_role,
    policy_sizes,
    policy_variables,
    principal_arn,
    secure_transport,
    session_durations,
    session_tokens,
    source_identity,
    subscriptions,
    table_policies,
    tags_on_creation,
    trust_principals,
    user_belongings,
)

# In reading order. `authorization` comes first: others take part in decisions through it.
PATCHES = (
    authorization,
    calls,
    decisions,
    policy_variables,
    iam_arns,
    iam_condition_keys,
    principal_arn,
    secure_transport,
    tags_on_creation,
    pass_role,
    mfa,
    source_identity,
    session_durations,
    session_tokens,
    trust_principals,
    policy_sizes,
    iam_names,
    iam_lists,
    own_user,
    user_belongings,
    cloudformation_iam,
    object_lock,
    table_policies,
    api_gateway,
    subscriptions,
    metric_math,
)


def apply_all() -> None:
    """Put every patch in place. To be called once, before the server starts."""
    for patch in PATCHES:
        patch.apply()
