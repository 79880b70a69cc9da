#!/usr/bin/env bash
# Ends all sessions and removes `sorry` from the account that the AWS CLI is signed in to.
#
#   infrastructure/destroy.sh [--dry-run] [--yes] [--delete-data | --sessions-only]
#
#   --dry-run        say what would be removed, and remove nothing
#   --yes            do not ask
#   --delete-data    also the tables, their key (AWS waits 30 days with that), the digests and the zips. They cannot be had back.
#   --sessions-only  end all sessions and leave the rest: nobody gets a new one until the three functions may run again
#
# In this order, so that nothing is left with access should a step fail:
#   1. no new sessions: the functions `sorry-api`, `sorry-issue` and `sorry-provision` may not run any more
#   2. every session's principal gets the policy `revoked`, which denies everything, credentials already issued included
#   3. the principals are removed; once more after the longest time that a function may still have been running
#   4. waiting executions are stopped: a state machine is deleted only when its last one has ended, up to 36 hours later
#   5. proof: nothing is listed any more under /sorry/session/, and no execution runs; otherwise it ends here, and says what is left
#   6. the callers' policy is taken from the callers' users; the users and their keys stay, and can do nothing
#   7. the stack is deleted; the tables, their key and the bucket of the audit's digests stay, unless --delete-data
#   8. proof once more, of the service's own roles, policies and functions, too
# From the environment: STACK (sorry), CODE_BUCKET (sorry-code-<account>-<region>).
# Needs: the AWS CLI, signed in with rights over IAM; bash 4.4 or later.
set -euo pipefail
export AWS_PAGER=""

readonly tables=(sorry-sessions sorry-registry sorry-audit)
# The functions that give access, or start what does.
readonly granting=(sorry-api sorry-issue sorry-provision)
readonly session_path=/sorry/session/
readonly deny_all='{"Version":"2012-10-17","Statement":[{"Sid":"SorryRevoked","Effect":"Deny","Action":"*","Resource":"*"}]}'
# The longest that a function that makes or repairs roles may run (the sweep's time-out), and a little.
readonly settle_seconds=${SETTLE_SECONDS:-250}
# Between two looks at a list that lags.
readonly proof_seconds=${PROOF_SECONDS:-10}

# shellcheck source=infrastructure/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

say() { printf '%s\n' "$*"; }

((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404)) || fail "this bash is older than 4.4" "run it with a later one"

dry_run=false assume_yes=false delete_data=false sessions_only=false
for argument in "$@"; do
  case $argument in
    --dry-run) dry_run=true ;;
    --yes) assume_yes=true ;;
    --delete-data) delete_data=true ;;
    --sessions-only) sessions_only=true ;;
    *) fail "\`$argument\` is no option" "destroy.sh [--dry-run] [--yes] [--delete-data | --sessions-only]" ;;
  esac
done
if $delete_data && $sessions_only; then
  fail "--delete-data and --sessions-only contradict each other" "leave one of them out"
fi

need aws
sign_in
code_bucket=${CODE_BUCKET:-sorry-code-$account-$region}
policies=arn:$partition:iam::$account:policy/sorry/service

# words COMMAND…: what a query of text gives, one word a line; an empty answer reads `None`. Fails when the command does.
words() {
  local text
  text=$("$@" --output text) || return
  tr '\t' '\n' <<<"$text" | grep -vx -e None -e '' || true
}

# list NAME COMMAND…: the words as the array NAME. A list that could not be had is never taken for an empty one.
list() {
  local -n array=$1
  local text
  shift
  text=$(words "$@") || fail "this failed: $*"
  array=()
  # shellcheck disable=SC2034 # a reference: it is the caller's array that is filled
  if [[ -n $text ]]; then mapfile -t array <<<"$text"; fi
}

list_session_roles() { list roles aws iam list-roles --path-prefix "$session_path" --query 'Roles[].RoleName'; }
list_session_users() { list users aws iam list-users --path-prefix "$session_path" --query 'Users[].UserName'; }
list_session_policies() {
  list session_policies aws iam list-policies --scope Local --path-prefix "$session_path" --query 'Policies[].Arn'
}
policy_exists() { aws iam get-policy --policy-arn "$1" >/dev/null 2>&1; }
physical() {
  words aws cloudformation describe-stack-resource --stack-name "$stack" --logical-resource-id "$1" \
    --query 'StackResourceDetail.PhysicalResourceId' 2>/dev/null || true
}
table_exists() { aws dynamodb describe-table --table-name "$1" >/dev/null 2>&1; }
bucket_exists() { aws s3api head-bucket --bucket "$1" --expected-bucket-owner "$account" >/dev/null 2>&1; }

list_executions() {
  executions=()
  if [[ -n $state_machine ]]; then
    list executions aws stepfunctions list-executions --state-machine-arn "$state_machine" --status-filter RUNNING \
      --query 'executions[].executionArn'
  fi
}

# ── What there is ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
status=$(stack_status)
key="" audit_bucket="" state_machine=""
if [[ -n $status ]]; then
  state_machine=$(physical StateMachine)
  key=$(physical DataKey)
  audit_bucket=$(physical AuditBucket)
fi
# Left by an earlier run: the tables still say which key they lie under.
if [[ -z $key ]] && table_exists sorry-audit; then
  key=$(words aws dynamodb describe-table --table-name sorry-audit --query 'Table.SSEDescription.KMSMasterKeyArn')
fi
roles=() users=() session_policies=() callers=() executions=()
list_session_roles
list_session_users
list_executions
if policy_exists "$policies/sorry-caller"; then
  list callers aws iam list-entities-for-policy --policy-arn "$policies/sorry-caller" --entity-filter User \
    --query 'PolicyUsers[].UserName'
fi
# Roles that administrators' sessions made keep that tier's boundary, and IAM deletes no policy that is in use.
bounded=() holders=() standing=()
list standing aws iam list-roles --path-prefix /sorry/standing/ --query 'Roles[].RoleName'
for tier in read-only developer admin break-glass; do
  policy_exists "$policies/sorry-boundary-$tier" || continue
  list holders aws iam list-entities-for-policy --policy-arn "$policies/sorry-boundary-$tier" \
    --policy-usage-filter PermissionsBoundary --query '[PolicyRoles[].RoleName, PolicyUsers[].UserName][]'
  for holder in "${holders[@]}"; do
    case " ${roles[*]} ${users[*]} ${standing[*]} " in *" $holder "*) ;; *) bounded+=("$holder") ;; esac
  done
done

say "account $account, region $region, stack \`$stack\`${status:+ ($status)}"
if [[ -z $status ]]; then say "  there is no such stack"; fi
say "would end and remove:"
say "  sessions' roles:  ${#roles[@]}${roles[*]:+: ${roles[*]}}"
if ((${#users[@]} > 0)); then say "  sessions' users:  ${#users[@]}: ${users[*]}"; fi
if ! $sessions_only; then say "  executions:       ${#executions[@]}"; fi
if [[ -n $status ]] && ! $sessions_only; then say "  the stack:        functions, API, state machine, rules, bus, topic, queue, logs, policies"; fi
if $delete_data; then
  for table in "${tables[@]}"; do if table_exists "$table"; then say "  table:            $table"; fi; done
  if [[ -n $key ]]; then say "  key:              $key, in 30 days"; fi
  for bucket in $audit_bucket $code_bucket; do if bucket_exists "$bucket"; then say "  bucket:           $bucket with all versions"; fi; done
fi
say "would keep:"
if $sessions_only; then say "  all else; \`sorry-api\`, \`sorry-issue\` and \`sorry-provision\` stay stopped"; else say "  callers' users:   ${#callers[@]}${callers[*]:+: ${callers[*]}}, without any permission"; fi
if ! $delete_data && ! $sessions_only; then say "  data:             tables ${tables[*]}; key; buckets of digests and zips (--delete-data removes them)"; fi
$sessions_only || say "  API Gateway's role for logs, which is the account's"

if ((${#bounded[@]} > 0)) && ! $sessions_only; then
  fail "these principals, made by administrators' sessions, still have a boundary of \`sorry\`: ${bounded[*]}" \
    "delete them, or give them another boundary, and run this again"
fi
if $dry_run; then
  say "dry run: nothing was changed"
  exit 0
fi
# Of a stack in review nothing is there yet.
if [[ $status == *_IN_PROGRESS && $status != REVIEW_IN_PROGRESS ]]; then
  fail "the stack \`$stack\` is $status: somebody else is changing it" "wait until that is over, and run this again"
fi
if ! $assume_yes; then
  [[ -t 0 ]] || fail "nobody to ask" "run it in a terminal, or with --yes"
  read -r -p "type the name of the stack to go on: " answer
  [[ $answer == "$stack" ]] || fail "\`$answer\` is not \`$stack\`; nothing was changed"
fi

# ── 1. No new sessions ─────────────────────────────────────────────────────────────────────────────────────────────────────────
if [[ -n $status ]]; then
  for function in "${granting[@]}"; do
    if aws lambda get-function-configuration --function-name "$function" >/dev/null 2>&1; then
      aws lambda put-function-concurrency --function-name "$function" --reserved-concurrent-executions 0 >/dev/null
      say "stopped $function"
    fi
  done
fi

# ── 2. and 3. Every session loses its access, then its role ────────────────────────────────────────────────────────────────────
gone() { # COMMAND…: does it; what another has removed meanwhile is removed.
  local message
  if ! message=$("$@" 2>&1 >/dev/null) && [[ $message != *NoSuchEntity* ]]; then
    printf '%s\n' "$message" >&2
    return 1
  fi
}

remove_role() {
  local role=$1 item
  local items=()
  list items aws iam list-role-policies --role-name "$role" --query 'PolicyNames[]'
  for item in "${items[@]}"; do
    # `revoked` last: the role denies everything for as long as it exists.
    if [[ $item != revoked ]]; then gone aws iam delete-role-policy --role-name "$role" --policy-name "$item"; fi
  done
  list items aws iam list-attached-role-policies --role-name "$role" --query 'AttachedPolicies[].PolicyArn'
  for item in "${items[@]}"; do
    gone aws iam detach-role-policy --role-name "$role" --policy-arn "$item"
  done
  list items aws iam list-instance-profiles-for-role --role-name "$role" --query 'InstanceProfiles[].InstanceProfileName'
  for item in "${items[@]}"; do
    gone aws iam remove-role-from-instance-profile --role-name "$role" --instance-profile-name "$item"
  done
  gone aws iam delete-role-policy --role-name "$role" --policy-name revoked
  gone aws iam delete-role --role-name "$role"
}

# Of a user IAM wants everything taken away first. What the service never makes, somebody else may have.
remove_user() {
  local user=$1 item
  local items=()
  gone aws iam delete-login-profile --user-name "$user"
  list items aws iam list-access-keys --user-name "$user" --query 'AccessKeyMetadata[].AccessKeyId'
  for item in "${items[@]}"; do gone aws iam delete-access-key --user-name "$user" --access-key-id "$item"; done
  list items aws iam list-mfa-devices --user-name "$user" --query 'MFADevices[].SerialNumber'
  for item in "${items[@]}"; do gone aws iam deactivate-mfa-device --user-name "$user" --serial-number "$item"; done
  list items aws iam list-ssh-public-keys --user-name "$user" --query 'SSHPublicKeys[].SSHPublicKeyId'
  for item in "${items[@]}"; do gone aws iam delete-ssh-public-key --user-name "$user" --ssh-public-key-id "$item"; done
  list items aws iam list-signing-certificates --user-name "$user" --query 'Certificates[].CertificateId'
  for item in "${items[@]}"; do gone aws iam delete-signing-certificate --user-name "$user" --certificate-id "$item"; done
  list items aws iam list-service-specific-credentials --user-name "$user" \
    --query 'ServiceSpecificCredentials[].ServiceSpecificCredentialId'
  for item in "${items[@]}"; do
    gone aws iam delete-service-specific-credential --user-name "$user" --service-specific-credential-id "$item"
  done
  list items aws iam list-groups-for-user --user-name "$user" --query 'Groups[].GroupName'
  for item in "${items[@]}"; do gone aws iam remove-user-from-group --user-name "$user" --group-name "$item"; done
  list items aws iam list-attached-user-policies --user-name "$user" --query 'AttachedPolicies[].PolicyArn'
  for item in "${items[@]}"; do gone aws iam detach-user-policy --user-name "$user" --policy-arn "$item"; done
  list items aws iam list-user-policies --user-name "$user" --query 'PolicyNames[]'
  for item in "${items[@]}"; do
    if [[ $item != revoked ]]; then gone aws iam delete-user-policy --user-name "$user" --policy-name "$item"; fi
  done
  gone aws iam delete-user-policy --user-name "$user" --policy-name revoked
  gone aws iam delete-user --user-name "$user"
}

# The access of a session's user is a policy of its own. IAM wants its other versions gone first, and may take seconds to see that
# nobody has it any more: what is left by the end is seen there.
remove_policy() { # ARN
  local policy=$1 item
  local items=()
  list items aws iam list-policy-versions --policy-arn "$policy" --query 'Versions[?!IsDefaultVersion].VersionId'
  for item in "${items[@]}"; do gone aws iam delete-policy-version --policy-arn "$policy" --version-id "$item"; done
  gone aws iam delete-policy --policy-arn "$policy"
}

deny_issued_by() { # SECONDS since 1970
  local moment
  TZ=UTC printf -v moment '%(%Y-%m-%dT%H:%M:%SZ)T' "$1"
  printf '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"DateLessThanEquals":{"aws:TokenIssueTime":"%s"}}}]}' \
    "$moment"
}

# Of a role that stands ready, credentials are out that nobody counts: all that were given by now end. Who was lent the role before gets
# no others: `sorry-issue` reads the moment in the policy's name. It stays there, and denies nothing that is lent later.
end_what_was_given() { # ROLE
  local role=$1 now item
  local items=()
  printf -v now '%(%s)T' -1
  gone aws iam put-role-policy --role-name "$role" --policy-name "revoked-before-$now" --policy-document "$(deny_issued_by "$now")"
  # What an earlier run has left says nothing more.
  list items aws iam list-role-policies --role-name "$role" --query "PolicyNames[?starts_with(@, 'revoked-before-')]"
  for item in "${items[@]}"; do
    if [[ $item != "revoked-before-$now" ]]; then gone aws iam delete-role-policy --role-name "$role" --policy-name "$item"; fi
  done
}

end_sessions() {
  local role user policy
  list_session_users
  for user in "${users[@]}"; do
    gone aws iam put-user-policy --user-name "$user" --policy-name revoked --policy-document "$deny_all"
    say "revoked $user"
  done
  for role in "${standing[@]}"; do
    end_what_was_given "$role"
    say "revoked what was given of $role"
  done
  list_session_roles
  for role in "${roles[@]}"; do
    gone aws iam put-role-policy --role-name "$role" --policy-name revoked --policy-document "$deny_all"
    say "revoked $role"
  done
  for role in "${roles[@]}"; do
    # The service's own functions may have been quicker.
    if aws iam get-role --role-name "$role" >/dev/null 2>&1; then remove_role "$role"; fi
    say "removed $role"
  done
  for user in "${users[@]}"; do
    if aws iam get-user --user-name "$user" >/dev/null 2>&1; then remove_user "$user"; fi
    say "removed $user"
  done
  list_session_policies
  for policy in "${session_policies[@]}"; do
    if remove_policy "$policy"; then say "removed ${policy##*/}"; fi
  done
}

# prove WHAT COMMAND…: that it lists nothing. IAM's lists lag by seconds, so they are looked at for a while before that is an error.
prove() {
  local what=$1 attempt
  local left=()
  shift
  for attempt in 1 2 3 4 5 6; do
    list left "$@"
    if ((${#left[@]} == 0)); then
      say "proof: no $what"
      return
    fi
    [[ $attempt == 6 ]] || sleep "$proof_seconds"
  done
  fail "there are $what left: ${left[*]}" "run this again; docs/runbook.md says how to end a session by hand"
}

prove_no_sessions() {
  prove "roles under $session_path" aws iam list-roles --path-prefix "$session_path" --query 'Roles[].RoleName'
  prove "users under $session_path" aws iam list-users --path-prefix "$session_path" --query 'Users[].UserName'
  prove "groups under $session_path" aws iam list-groups --path-prefix "$session_path" --query 'Groups[].GroupName'
  prove "policies under $session_path" aws iam list-policies --scope Local --path-prefix "$session_path" --query 'Policies[].Arn'
  prove "instance profiles under $session_path" aws iam list-instance-profiles --path-prefix "$session_path" \
    --query 'InstanceProfiles[].InstanceProfileName'
}

end_sessions
if [[ -n $status ]]; then
  say "waiting $settle_seconds s for functions that may still be running"
  sleep "$settle_seconds"
  end_sessions
fi

if $sessions_only; then
  prove_no_sessions
  say "done: no session is left. The sweep brings the rows to their end; that of a role that stands ready has its own, and gives nothing more"
  say "until then. To lend again:"
  say "  for f in sorry-api sorry-issue sorry-provision; do aws lambda delete-function-concurrency --function-name \$f; done"
  exit 0
fi

# ── 4. and 5. Nothing waits, nothing is left ───────────────────────────────────────────────────────────────────────────────────
list_executions
for execution in "${executions[@]}"; do
  # It may have ended by itself meanwhile.
  aws stepfunctions stop-execution --execution-arn "$execution" --error Destroyed --cause "destroy.sh has ended its session" >/dev/null 2>&1 || true
  say "stopped ${execution##*:}"
done
prove_no_sessions
if [[ -n $state_machine ]]; then
  prove "running executions" aws stepfunctions list-executions --state-machine-arn "$state_machine" --status-filter RUNNING \
    --query 'executions[].executionArn'
fi

# ── 6. and 7. Callers, stack, data ─────────────────────────────────────────────────────────────────────────────────────────────
for user in "${callers[@]}"; do
  gone aws iam detach-user-policy --user-name "$user" --policy-arn "$policies/sorry-caller"
  say "took the callers' policy from $user"
done

# What ended sessions on roles that stand ready; CloudFormation knows nothing of it, and IAM deletes no role with it.
for role in "${standing[@]}"; do
  ended=()
  list ended aws iam list-role-policies --role-name "$role" --query "PolicyNames[?starts_with(@, 'revoked-')]"
  for policy in "${ended[@]}"; do gone aws iam delete-role-policy --role-name "$role" --policy-name "$policy"; done
done

if [[ -n $status ]]; then
  aws cloudformation delete-stack --stack-name "$stack"
  aws cloudformation wait stack-delete-complete --stack-name "$stack" ||
    fail "the stack \`$stack\` could not be deleted" "aws cloudformation describe-stack-events --stack-name $stack says why"
  say "deleted the stack $stack"
fi

# ── 8. Nothing is left of the service, either ──────────────────────────────────────────────────────────────────────────────────
prove_no_sessions
prove "roles of the service" aws iam list-roles --path-prefix /sorry/service/ --query 'Roles[].RoleName'
prove "policies of the service" aws iam list-policies --scope Local --path-prefix /sorry/service/ --query 'Policies[].Arn'
# shellcheck disable=SC2016 # the backticks are JMESPath's, around a literal
prove "functions of the service" aws lambda list-functions --query 'Functions[?starts_with(FunctionName, `sorry-`)].FunctionName'

# Digests are locked: with GOVERNANCE whoever may bypass that deletes them, with COMPLIANCE nobody does before their time.
empty_and_delete_bucket() {
  local bucket=$1 batch errors bypass=()
  if [[ $bucket == "$audit_bucket" ]]; then
    aws s3api delete-bucket-policy --bucket "$bucket"
    bypass=(--bypass-governance-retention)
  fi
  while true; do
    # shellcheck disable=SC2016 # the backticks are JMESPath's, around a literal
    batch=$(aws s3api list-object-versions --bucket "$bucket" --max-items 500 --output json \
      --query '{Objects: [Versions, DeleteMarkers][][].{Key: Key, VersionId: VersionId}, Quiet: `true`}')
    [[ $batch == *'"Key"'* ]] || break
    errors=$(words aws s3api delete-objects --bucket "$bucket" --delete "$batch" "${bypass[@]}" --query 'Errors[0].Message')
    if [[ -n $errors && $errors != None ]]; then
      say "kept the bucket $bucket: $errors"
      return
    fi
  done
  aws s3api delete-bucket --bucket "$bucket"
  say "deleted the bucket $bucket"
}

if $delete_data; then
  for table in "${tables[@]}"; do
    table_exists "$table" || continue
    aws dynamodb update-table --table-name "$table" --no-deletion-protection-enabled >/dev/null
    aws dynamodb wait table-exists --table-name "$table"
    aws dynamodb delete-table --table-name "$table" >/dev/null
    say "deleted the table $table"
  done
  for bucket in $audit_bucket $code_bucket; do
    if bucket_exists "$bucket"; then empty_and_delete_bucket "$bucket"; fi
  done
  if [[ -n $key ]]; then
    aws kms schedule-key-deletion --key-id "$key" --pending-window-in-days 30 >/dev/null
    say "the key $key goes in 30 days; until then: aws kms cancel-key-deletion --key-id $key"
  fi
elif [[ -n $audit_bucket || -n $key ]]; then
  say "kept: tables ${tables[*]}; key ${key:-?}; buckets ${audit_bucket:-?} and $code_bucket"
fi
say "done"
