#!/usr/bin/env bash
# Shows that the gateway of a deployment refuses what it must: its resource policy as API Gateway has it, and calls.
#
#   infrastructure/check.sh
#
# deploy.sh ends with it; it changes nothing and may be run at any time. A policy takes effect only with a deployment of the stage, so
# that it can be read is not enough: calls show that it is in force. Signed calls need the AWS CLI 2 (version 1 cannot give out the
# credentials it uses), or keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
# From the environment: STACK (sorry), CHECK_ATTEMPTS (10; a new stage takes a moment, so there are three seconds between two).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export AWS_PAGER=""
# shellcheck source=infrastructure/common.sh
source infrastructure/common.sh

say() { printf '%s\n' "$*" >&2; }

need aws curl python3
sign_in
# value LIST NAME-MEMBER NAME VALUE-MEMBER: one output or parameter of the stack, empty when it has none.
value() {
  local text
  text=$(aws cloudformation describe-stacks --stack-name "$stack" --output text --query "Stacks[0].$1[?$2=='$3'].$4 | [0]")
  if [[ $text != None ]]; then printf '%s\n' "$text"; fi
}
output_of() { value Outputs OutputKey "$1" OutputValue; }
parameter() { value Parameters ParameterKey "$1" ParameterValue; }
endpoint=$(output_of Endpoint)
api=$(output_of ApiId)
administrators=$(parameter AdministratorArns)
require_mfa=$(parameter RequireMfa)
exempt=$(parameter IdentityProviderRoleArns)
[[ -n $endpoint && -n $api ]] || fail "the stack \`$stack\` has no outputs Endpoint and ApiId" "STACK=<its name>"

answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
readonly wrong="the API at $endpoint is not what was deployed; do not use it before you know why"
# Whether anything has shown the policy.
shown=false

# ── The policy as it is read back ──────────────────────────────────────────────────────────────────────────────────────────────
if policy=$(aws apigateway get-rest-api --rest-api-id "$api" --query policy --output text); then
  python3 infrastructure/check_policy.py --arn "arn:$partition:execute-api:$region:$account" --api "$api" --mfa "$require_mfa" \
    --administrators "$administrators" --identity-provider-roles "$exempt" <<<"$policy" || fail "the gateway's policy is wrong" "$wrong"
  say "ok: the gateway's policy, as it is read back"
  shown=true
else
  say "not checked: the gateway's policy as it is read back; whoever deploys needs apigateway:GET"
fi

# ── Calls ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
# request METHOD PATH CURL-ARGUMENT…: the status; what came with it is in $answer.
request() {
  local method=$1 path=$2
  shift 2
  curl --silent --show-error --max-time 20 --output "$answer" --write-out '%{http_code}' --request "$method" "$@" "$endpoint$path"
}

# No secret is an argument of a program, where every user of the machine could read it: printf is the shell itself.
credentials() {
  if [[ $keys == cli ]]; then
    aws configure export-credentials --format env-no-export
  else
    printf '%s=%s\n' AWS_ACCESS_KEY_ID "$AWS_ACCESS_KEY_ID" AWS_SECRET_ACCESS_KEY "$AWS_SECRET_ACCESS_KEY" \
      AWS_SESSION_TOKEN "${AWS_SESSION_TOKEN:-}"
  fi
}

# As curl reads them; with `--kind` only whether they are temporary.
as_curl='
import sys
keys = dict(line.rstrip("\r\n").split("=", 1) for line in sys.stdin if "=" in line)
if sys.argv[1:] == ["--kind"]:
    print("temporary" if keys.get("AWS_SESSION_TOKEN") else "long-term")
else:
    print("user = \"%s:%s\"" % (keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"]))
    if keys.get("AWS_SESSION_TOKEN"):
        print("header = \"x-amz-security-token: %s\"" % keys["AWS_SESSION_TOKEN"])
'
signed() { # METHOD PATH CURL-ARGUMENT…
  credentials | python3 -c "$as_curl" | request "$@" --config - --aws-sigv4 "aws:amz:$region:execute-api"
}

# fits EXPECTED GOT: whether that is the status, and for `denied` whether a policy denied it by name.
fits() {
  if [[ $1 == denied ]]; then
    [[ $2 == 403 ]] && grep --quiet --ignore-case 'explicit deny' "$answer"
  else
    [[ $2 == "$1" ]]
  fi
}

# must_be EXPECTED WHAT HINT COMMAND…
must_be() {
  local expected=$1 what=$2 hint=$3 got attempt
  shift 3
  for ((attempt = 1; ; attempt++)); do
    : >"$answer"
    got=$("$@") || got="no answer"
    if fits "$expected" "$got"; then
      say "ok: $what: $got"
      if [[ $expected == denied ]]; then shown=true; fi
      return
    fi
    ((attempt < ${CHECK_ATTEMPTS:-10})) || break
    sleep 3
  done
  if [[ $expected == denied ]]; then expected="403 with an explicit deny"; fi
  fail "$what: $got, and not $expected" "$hint" "the answer was: $(head -c 500 "$answer")"
}

must_be 403 "an unsigned request" "$wrong" request GET /whoami
must_be 403 "an unsigned request to /admin" "$wrong" request GET /admin/callers

keys=""
if aws configure export-credentials --format env-no-export >/dev/null 2>&1; then
  keys=cli
elif [[ -n ${AWS_ACCESS_KEY_ID:-} && -n ${AWS_SECRET_ACCESS_KEY:-} ]]; then
  keys=environment
fi

if [[ -n $keys ]]; then
  me=$(principal) || fail "the role of $arn cannot be looked at" "whoever deploys needs iam:GetRole"
  kind=$(credentials | python3 -c "$as_curl" --kind)
  if [[ ",${administrators// /}," == *",$me,"* ]]; then
    must_be 200 "an administrator's request to /admin, signed" \
      "$me is in AdministratorArns, so this must be allowed; its own policies must allow execute-api:Invoke, too" signed GET /admin/callers
  else
    must_be denied "the request to /admin of someone who is no administrator, signed" "$wrong" signed GET /admin/callers
    say "note: $me, who is signed in, is no administrator: AdministratorArns does not name it"
  fi
  # A body that the function refuses, should the request come as far as that.
  change=(signed PUT /admin/callers/not-a-caller --header "content-type: application/json" --data "{}")
  if [[ $require_mfa == true && $kind == long-term ]]; then
    must_be denied "a change without MFA, signed" "$wrong" "${change[@]}"
  elif [[ $require_mfa == true ]]; then
    # Temporary credentials may carry MFA, and their role may be exempt.
    got=$("${change[@]}") || got="no answer"
    if fits denied "$got"; then
      say "ok: a change, signed by credentials without MFA: $got"
      shown=true
    else
      say "not shown by a call: that changes need MFA; these credentials have it, or their role is exempt ($got)"
    fi
  fi
else
  say "not checked: signed requests; this AWS CLI has no \`configure export-credentials\` (version 2 has), and there are no keys in AWS_ACCESS_KEY_ID"
fi

[[ $shown == true ]] ||
  fail "nothing has shown the gateway's policy" "use the AWS CLI 2, signed in with apigateway:GET" "deploy.sh with SKIP_CHECKS=1 leaves the checks out"
