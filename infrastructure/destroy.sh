#!/usr/bin/env bash
# Ends all sessions and removes `sorry` from the account that the AWS CLI is signed in to.
#
#   infrastructure/destroy.sh [--dry-run] [--yes] [--delete-data]
#
#   --dry-run      say what would be removed, and remove nothing
#   --yes          do not ask
#   --delete-data  also the tables, their key (AWS waits 30 days with that), the tiers and the zips. They cannot be had back.
#
# In this order, so that nothing is left with access should a step fail:
#   1. no new sessions: the functions `sorry-api` and `sorry-provision` may not run any more
#   2. every session's role gets the policy `revoked`, which denies everything, credentials already issued included
#   3. the roles are removed; once more after the longest time that a function may still have been running
#   4. the callers' policy is taken from the callers' users; the users and their keys stay, and can do nothing
#   5. the stack is deleted; the tables, their key and the bucket of the audit's digests stay, unless --delete-data
# From the environment: STACK (sorry), CODE_BUCKET (sorry-code-<account>-<region>).
# Needs: the AWS CLI, signed in with rights over IAM; bash 4.4 or later.
set -euo pipefail
export AWS_PAGER=""

readonly tables=(sorry-sessions sorry-registry sorry-audit)
readonly session_path=/sorry/session/
readonly deny_all='{"Version":"2012-10-17","Statement":[{"Sid":"SorryRevoked","Effect":"Deny","Action":"*","Resource":"*"}]}'
# The longest that a function that makes or repairs roles may run (the sweep's time-out), and a little.
readonly settle_seconds=${SETTLE_SECONDS:-250}

# shellcheck source=infrastructure/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

say() { printf '%s\n' "$*"; }

((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404)) || fail "this bash is older than 4.4" "run it with a later one"

dry_run=false assume_yes=false delete_data=false
for argument in "$@"; do
  case $argument in
    --dry-run) dry_run=true ;;
    --yes) assume_yes=true ;;
    --delete-data) delete_data=true ;;
    *) fail "\`$argument\` is no option" "destroy.sh [--dry-run] [--yes] [--delete-data]" ;;
  esac
done

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
policy_exists() { aws iam get-policy --policy-arn "$1" >/dev/null 2>&1; }
physical() {
  words aws cloudformation describe-stack-resource --stack-name "$stack" --logical-resource-id "$1" \
    --query 'StackResourceDetail.PhysicalResourceId' 2>/dev/null || true
}
table_exists() { aws dynamodb describe-table --table-name "$1" >/dev/null 2>&1; }
bucket_exists() { aws s3api head-bucket --bucket "$1" --expected-bucket-owner "$account" >/dev/null 2>&1; }

# ── What there is ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
status=$(stack_status)
key="" audit_bucket=""
if [[ -n $status ]]; then
  key=$(physical DataKey)
  audit_bucket=$(physical AuditBucket)
fi
# Left by an earlier run: the tables still say which key they lie under.
if [[ -z $key ]] && table_exists sorry-audit; then
  key=$(words aws dynamodb describe-table --table-name sorry-audit --query 'Table.SSEDescription.KMSMasterKeyArn')
fi
roles=() callers=()
list_session_roles
if policy_exists "$policies/sorry-caller"; then
  list callers aws iam list-entities-for-policy --policy-arn "$policies/sorry-caller" --entity-filter User \
    --query 'PolicyUsers[].UserName'
fi
# Roles that administrators' sessions made keep that tier's boundary, and IAM deletes no policy that is in use.
bounded=() holders=()
for tier in read-only developer admin break-glass; do
  policy_exists "$policies/sorry-boundary-$tier" || continue
  list holders aws iam list-entities-for-policy --policy-arn "$policies/sorry-boundary-$tier" \
    --policy-usage-filter PermissionsBoundary --query '[PolicyRoles[].RoleName, PolicyUsers[].UserName][]'
  for holder in "${holders[@]}"; do
    case " ${roles[*]} " in *" $holder "*) ;; *) bounded+=("$holder") ;; esac
  done
done

say "account $account, region $region, stack \`$stack\`${status:+ ($status)}"
if [[ -z $status ]]; then say "  there is no such stack"; fi
say "would end and remove:"
say "  sessions' roles:  ${#roles[@]}${roles[*]:+: ${roles[*]}}"
if [[ -n $status ]]; then say "  the stack:        functions, API, state machine, rules, bus, topic, queue, logs, policies"; fi
if $delete_data; then
  for table in "${tables[@]}"; do if table_exists "$table"; then say "  table:            $table"; fi; done
  if [[ -n $key ]]; then say "  key:              $key, in 30 days"; fi
  for bucket in $audit_bucket $code_bucket; do if bucket_exists "$bucket"; then say "  bucket:           $bucket with all versions"; fi; done
fi
say "would keep:"
say "  callers' users:   ${#callers[@]}${callers[*]:+: ${callers[*]}}, without any permission"
if ! $delete_data; then say "  data:             tables ${tables[*]}; key; buckets of digests and zips (--delete-data removes them)"; fi
say "  API Gateway's role for logs, which is the account's"

if ((${#bounded[@]} > 0)); then
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
  for function in sorry-api sorry-provision; do
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

end_sessions() {
  local role
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
}

end_sessions
if [[ -n $status ]]; then
  say "waiting $settle_seconds s for functions that may still be running"
  sleep "$settle_seconds"
  end_sessions
fi
list_session_roles
((${#roles[@]} == 0)) || fail "sessions' roles are left: ${roles[*]}" "run this again"

# ── 4. and 5. Callers, stack, data ─────────────────────────────────────────────────────────────────────────────────────────────
for user in "${callers[@]}"; do
  gone aws iam detach-user-policy --user-name "$user" --policy-arn "$policies/sorry-caller"
  say "took the callers' policy from $user"
done

if [[ -n $status ]]; then
  aws cloudformation delete-stack --stack-name "$stack"
  aws cloudformation wait stack-delete-complete --stack-name "$stack" ||
    fail "the stack \`$stack\` could not be deleted" "aws cloudformation describe-stack-events --stack-name $stack says why"
  say "deleted the stack $stack"
fi

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
