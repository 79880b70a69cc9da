#!/usr/bin/env bash
# The main job, shown: what is typed, what comes back, and whether it is what it should be. Run by `make demo`.
#
# Everything is real: the template, the state machine, the function binaries, `sorry`, and the AWS CLI that uses the credentials.
# Only AWS itself is a local one, started here and ended at the end. Nobody's ~/.aws is touched.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

state=$(mktemp -d) # not in here: `sorry` warns of credentials in a git work tree, and rightly
readonly state
home=$state/home agent_pid=""
readonly home local_aws=(.local/venv/bin/python tests/local/local_aws.py)
PATH="$PWD/target/debug:$PWD/.local/venv/bin:$PATH"
export PATH AWS_PAGER=""

bold=$'\e[1m' faint=$'\e[2m' plain=$'\e[0m'
[[ -t 1 && -z ${NO_COLOR:-} ]] || bold="" faint="" plain=""

chapter() { printf '\n%s== %s%s\n' "$bold" "$1" "$plain"; }
note() { printf '%s   %s%s\n' "$faint" "$1" "$plain"; }
fail() {
  printf '\nerror: %s\n' "$1" >&2
  exit 1
}
typed() {
  local word line='$'
  for word in "$@"; do
    if [[ $word == *[[:space:]]* ]]; then line+=" '$word'"; else line+=" $word"; fi
  done
  printf '%s%s%s\n' "$bold" "$line" "$plain"
}

# Runs a command as if it were typed; it must succeed.
run() {
  typed "$@"
  "$@" 2>&1 || fail "this should have succeeded"
}

# Runs a command that must be refused, in words that hold $1: any other failure would prove nothing. The refusal is shown.
refused() {
  local words=$1 said
  shift
  typed "$@"
  if said=$("$@" 2>&1); then fail "this should have been refused: $said"; fi
  grep -v '^$' <<<"$said"
  grep -Eq "$words" <<<"$said" || fail "this is another failure than the refusal"
}
readonly by_aws='not authorized to perform|security token .* is invalid'

# Waits until a command succeeds.
until_it() {
  local what=$1 deadline=$((SECONDS + 90))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || fail "$what: not within 90 seconds"
    sleep 0.3
  done
}

session_of() { sorry list --output json | python3 -c 'import json,sys; print(json.load(sys.stdin)["sessions"][0]["session_id"])'; }
state_of() { sorry status "$1" --output json | python3 -c 'import json,sys; print(json.load(sys.stdin)["state"])'; }
is_in() { [[ $(state_of "$1") == "$2" ]]; }
as_administrator() { aws --profile administrator "$@"; }
is_past() {
  python3 -c 'import datetime as d,sys; sys.exit(d.datetime.now(d.timezone.utc) <= d.datetime.fromisoformat(sys.argv[1].replace("Z", "+00:00")) + d.timedelta(seconds=int(sys.argv[2])))' "$1" "$2"
}
is_refused() {
  local said
  ! said=$("$@" 2>&1) && grep -Eq "$by_aws" <<<"$said"
}
policy_attribute() { python3 -c 'import json,sys; print(json.dumps({"Policy": sys.argv[1]}))' "$1"; }
roles() { as_administrator iam list-roles --path-prefix /sorry/session/ --query 'Roles[].RoleName' --output text; }

end() {
  [[ -z $agent_pid ]] || kill "$agent_pid" 2>/dev/null || true
  "${local_aws[@]}" down --state "$state" >/dev/null 2>&1 || true
  rm -rf "$state"
}
trap end EXIT

chapter "A local AWS, with the real stack on it"
"${local_aws[@]}" up --state "$state" --binaries target/debug --watch-parent $$ 2>&1
# shellcheck disable=SC1091 # written by the line above
source "$state/env"
export AWS_DEFAULT_REGION=$AWS_REGION # what version 1 of the AWS CLI reads
note "administrator and caller are registered; from here on we are the caller, sue-mgr, with a small key of her own and a device for"
note "MFA codes, which a program stands in for here (SORRY_MFA_PROCESS); a code is good once, and there is a new one every 30 seconds"
run sorry whoami
refused "$by_aws" aws sns create-topic --name sue-notes
note "her key alone can do nothing but ask"

chapter "Her key goes into a vault, and a new one takes its place"
mkdir -p "$home/.ssh"
export HOME="$home" XDG_CONFIG_HOME="$home/.config" XDG_STATE_HOME="$home/.local/state"
phrase="for the demo alone"
run ssh-keygen -q -t ed25519 -a 16 -C demo -N "$phrase" -f "$home/.ssh/id_ed25519"
export SSH_AUTH_SOCK="$state/agent"
agent_pid=$(ssh-agent -s -a "$SSH_AUTH_SOCK" | sed -n 's/^SSH_AGENT_PID=\([0-9]*\);.*/\1/p')
printf '#!/bin/sh\nprintf %%s "%s"\n' "$phrase" >"$state/askpass"
chmod 700 "$state/askpass"
SSH_ASKPASS="$state/askpass" SSH_ASKPASS_REQUIRE=force ssh-add -q "$home/.ssh/id_ed25519"
secret=$(aws configure get aws_secret_access_key)
run sorry setup --from-profile sue-mgr --no-recovery --rotate --remove-plain-text
unset AWS_PROFILE
run sorry vault status
if grep -rqF "$secret" "$home" "$AWS_SHARED_CREDENTIALS_FILE"; then fail "the old key should be gone"; fi
note "no file holds a key of hers in plain text; the agent opens the vault for what follows"

chapter "Request a session, and use it"
note "no secret of it is written to the disk in plain text: the profile names a command that takes it out of the vault's cache"
run sorry request --tier developer --hours 8 --reason "look into the stuck queue" --deliver process
session=$(session_of)
run aws --profile sue-developer sts get-caller-identity --query Arn --output text
run aws --profile sue-developer sns create-topic --name sue-notes --query TopicArn --output text
note "outside her namespace, and outside the tier:"
refused "$by_aws" aws --profile sue-developer sns create-topic --name bob-notes
refused "$by_aws" aws --profile sue-developer iam create-user --user-name sue-forever

chapter "Revoke it: the credentials that are out stop working"
copied=$(sorry env sue-developer --keys) # somebody has copied the credentials
run sorry revoke "$session"
with_copied() (
  eval "$copied"
  "$@"
)
refused "$by_aws" with_copied aws sns create-topic --name sue-notes
[[ -z $(roles) ]] || fail "the role should be gone"
note "and the role is gone"

chapter "A session of 20 seconds is extended by 20 more, and ends by itself"
note "the session with MFA that the vault keeps since the first request serves this one, too: no code is needed"
run sorry request --tier developer --for 20s
session=$(session_of)
run aws --profile sue-developer sns create-topic --name sue-notes --query TopicArn --output text
lent=$(sorry env sue-developer --keys)
run sorry extend "$session" --for 20s
asked_at=$(sorry status "$session" --output json | python3 -c 'import json,sys; print(json.load(sys.stdin)["requested_at"])')
with_lent() (
  eval "$lent"
  # They say the end that they were lent for, and the AWS CLI would believe them.
  unset AWS_CREDENTIAL_EXPIRATION
  "$@"
)
until_it "the first end is past" is_past "$asked_at" 20
note "the credentials that were lent for the first 20 seconds go on:"
run with_lent aws sns create-topic --name sue-notes --query TopicArn --output text
note "AWS's own credentials live 15 minutes at least; the date in the role's policy ends them at the session's end"
until_it "the credentials are refused" is_refused aws --profile sue-developer sns create-topic --name sue-notes
refused "$by_aws" aws --profile sue-developer sns create-topic --name sue-notes
until_it "the session is EXPIRED" is_in "$session" EXPIRED
run sorry status "$session"
[[ -z $(roles) ]] || fail "the role should be gone"

chapter "The tier admin takes somebody else's approval"
note "an administrator registers ann, who approves and reviews, with a key and a device for codes of her own"
sorry --quiet --caller-profile administrator admin callers add ann-mgr --role approver --mfa --output json |
  .local/venv/bin/python tests/local/keep_caller.py ann-mgr "$AWS_SHARED_CREDENTIALS_FILE" "$state/ann-seed" ||
  fail "ann should have been registered"
as_ann() { SORRY_MFA_PROCESS="$PWD/.local/venv/bin/python $PWD/tests/local/mfa_code.py $state/ann-seed" "$@"; }
run sorry request --tier admin --hours 1 --reason "rotate the certificates" --no-wait
session=$(session_of)
[[ -z $(roles) ]] || fail "nothing should be made yet"
note "now ann:"
run as_ann sorry --caller-profile ann-mgr list --awaiting-me
run as_ann sorry --caller-profile ann-mgr approve "$session" --comment "as agreed in ticket 4711"
note "and sue again; her hour begins with the approval:"
run sorry renew "$session"
run aws --profile sue-admin cloudwatch describe-alarms --query 'length(MetricAlarms)' --output text
run sorry revoke "$session"

chapter "Break-glass: nobody listens, nothing is granted"
refused NoSubscriber sorry request --tier break-glass --hours 1 --reason "the queue ate the database"
note "security subscribes to the alert topic"
topic=$(as_administrator sns list-topics --query 'Topics[?ends_with(TopicArn, `:sorry-alerts`)].TopicArn' --output text)
queue=$(as_administrator --endpoint-url "$AWS_ENDPOINT_URL" sqs create-queue --queue-name security --query QueueUrl --output text)
queue_arn=$(as_administrator --endpoint-url "$AWS_ENDPOINT_URL" sqs get-queue-attributes --queue-url "$queue" --attribute-names QueueArn --query Attributes.QueueArn --output text)
policy='{"Statement":[{"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},"Action":"sqs:SendMessage","Resource":"*"}]}'
as_administrator --endpoint-url "$AWS_ENDPOINT_URL" sqs set-queue-attributes --queue-url "$queue" \
  --attributes "$(policy_attribute "$policy")"
run aws --profile administrator sns subscribe --topic-arn "$topic" --protocol sqs --notification-endpoint "$queue_arn" --query SubscriptionArn --output text
run sorry request --tier break-glass --hours 1 --reason "the queue ate the database"
session=$(session_of)
run aws --profile sue-break-glass iam list-users --query 'Users[].UserName' --output text
note "what security received, and when; the session became ACTIVE after that:"
active=$(sorry status "$session" --output json | python3 -c 'import json,sys; print(json.load(sys.stdin)["activated_at"])')
as_administrator --endpoint-url "$AWS_ENDPOINT_URL" sqs receive-message --queue-url "$queue" --max-number-of-messages 10 --attribute-names SentTimestamp --output json |
  python3 tests/local/show_alert.py "$session" "$active" || fail "security should have heard before the session became ACTIVE"
run sorry revoke "$session"
note "its review stays open until somebody else has looked:"
run as_ann sorry --caller-profile ann-mgr list --awaiting-me
run as_ann sorry --caller-profile ann-mgr review "$session" --comment "read its CloudTrail: only the database was restored"

chapter "What is left"
run sorry list
[[ -z $(roles) ]] || fail "no role should be left"
note "no role is left; the audit table has a record of every change"
printf '\n%severything was as it should be%s\n' "$bold" "$plain"
