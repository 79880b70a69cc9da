#!/usr/bin/env bash
# Packages, uploads and deploys `sorry` to the account that the AWS CLI is signed in to.
#
#   infrastructure/deploy.sh [Parameter=value …]
#
#   infrastructure/deploy.sh AdministratorArns=arn:aws:iam::123456789012:role/platform EnabledTiers=read-only,developer,admin
#
# Parameters are those of infrastructure/template.yaml; what is not given stays as it was deployed last. On the first deployment
# whoever deploys becomes the administrator, unless AdministratorArns says otherwise. From the environment:
#   STACK          name of the stack (sorry)
#   CODE_BUCKET    bucket for zips and template (sorry-code-<account>-<region>), made if it is missing
#   ARCHITECTURE   arm64 (default) or x86_64
#   SKIP_PACKAGE   anything: take the zips in target/lambda as they are
# Needs: the AWS CLI, signed in with rights over IAM; curl; what package.sh needs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly functions=(api provision clean-up sweep alert)
readonly output=target/lambda
readonly venv=.local/package-venv
export AWS_PAGER=""

fail() {
  printf 'error: %s\n' "$1" >&2
  shift
  if (($# > 0)); then printf 'hint: %s\n' "$@" >&2; fi
  exit 1
}

say() { printf '%s\n' "$*" >&2; }

for tool in aws curl python3; do
  command -v "$tool" >/dev/null || fail "there is no $tool" "install it; infrastructure/README.md lists what deploying needs"
done
for argument in "$@"; do
  [[ $argument =~ ^[A-Za-z]+= ]] || fail "\`$argument\` is no parameter" "write Parameter=value"
done

identity=$(aws sts get-caller-identity --output text --query '[Account,Arn]') ||
  fail "the AWS CLI is not signed in" "aws configure, or aws sso login; then: aws sts get-caller-identity"
read -r account arn <<<"$identity"
region=${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region || true)}}
[[ -n $region ]] || fail "no region is configured" "set AWS_REGION"
export AWS_REGION=$region AWS_DEFAULT_REGION=$region

stack=${STACK:-sorry}
bucket=${CODE_BUCKET:-sorry-code-$account-$region}
architecture=${ARCHITECTURE:-arm64}
say "deploying stack \`$stack\` to account $account, region $region, as $arn"

exists=true
aws cloudformation describe-stacks --stack-name "$stack" >/dev/null 2>&1 || exists=false

# Tables outlive their stack; a new stack cannot make them again, and should not silently take them over.
if [[ $exists == false ]] && aws dynamodb describe-table --table-name sorry-sessions >/dev/null 2>&1; then
  fail "there is no stack \`$stack\`, and a table \`sorry-sessions\` all the same" \
    "another stack of this account holds it (one deployment per account): STACK=<its name>" \
    "or an earlier deployment left it: export what you need, then infrastructure/destroy.sh --delete-data"
fi

# ── The zips ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────
if [[ -z ${SKIP_PACKAGE:-} ]]; then
  ARCHITECTURE=$architecture infrastructure/package.sh
fi
for function in "${functions[@]}"; do
  [[ -f $output/$function.zip ]] || fail "there is no $output/$function.zip" "infrastructure/package.sh builds it"
done

if ! aws s3api head-bucket --bucket "$bucket" --expected-bucket-owner "$account" >/dev/null 2>&1; then
  say "making the bucket $bucket"
  if [[ $region == us-east-1 ]]; then
    aws s3api create-bucket --bucket "$bucket" >/dev/null
  else
    aws s3api create-bucket --bucket "$bucket" --create-bucket-configuration "LocationConstraint=$region" >/dev/null
  fi
  aws s3api put-public-access-block --bucket "$bucket" --public-access-block-configuration \
    BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true
  aws s3api put-bucket-versioning --bucket "$bucket" --versioning-configuration Status=Enabled
fi

# By content: the same zips are the same keys, and other ones are deployed without fail.
digest=$(cd "$output" && python3 - "${functions[@]}" <<'PYTHON'
import hashlib, sys

total = hashlib.sha256()
for function in sys.argv[1:]:
    with open(f"{function}.zip", "rb") as file:
        total.update(hashlib.sha256(file.read()).digest())
print(total.hexdigest()[:16])
PYTHON
)
prefix=functions/$digest/
for function in "${functions[@]}"; do
  aws s3 cp --only-show-errors "$output/$function.zip" "s3://$bucket/$prefix$function.zip"
done

# ── What belongs to the account and not to the stack ───────────────────────────────────────────────────────────────────────────
# API Gateway writes access logs only when the account has a role for it in this region, one for all its APIs.
log_role=$(aws apigateway get-account --query cloudwatchRoleArn --output text)
if [[ $log_role == None || -z $log_role ]]; then
  say "giving API Gateway a role to write logs with"
  trust='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"apigateway.amazonaws.com"},"Action":"sts:AssumeRole"}]}'
  partition=${arn#arn:} partition=${partition%%:*}
  log_role=$(aws iam get-role --role-name api-gateway-logs --query Role.Arn --output text 2>/dev/null) ||
    log_role=$(aws iam create-role --role-name api-gateway-logs --assume-role-policy-document "$trust" --query Role.Arn --output text)
  aws iam attach-role-policy --role-name api-gateway-logs \
    --policy-arn "arn:$partition:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
  # A new role is not known everywhere at once.
  for attempt in 1 2 3 4 5 6; do
    if aws apigateway update-account --patch-operations "op=replace,path=/cloudwatchRoleArn,value=$log_role" >/dev/null; then break; fi
    [[ $attempt != 6 ]] || fail "API Gateway does not take the role $log_role" "try again in a minute"
    sleep 10
  done
fi

# ── The stack ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────
parameters=("CodeBucket=$bucket" "CodePrefix=$prefix" "Architecture=$architecture")
if [[ $exists == false && " $*" != *" AdministratorArns="* ]]; then
  administrator=$arn
  # The session of a role: its ARN lacks the role's path, so IAM is asked.
  if [[ $arn == *:assumed-role/* ]]; then
    name=${arn#*:assumed-role/}
    administrator=$(aws iam get-role --role-name "${name%%/*}" --query Role.Arn --output text)
  fi
  say "administrator: $administrator"
  parameters+=("AdministratorArns=$administrator")
fi

[[ -x $venv/bin/python ]] || python3 -m venv "$venv"
"$venv/bin/python" -c 'import yaml' 2>/dev/null ||
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
    --requirement infrastructure/package-requirements.txt >&2
# Another revision each time, so that the stage serves what is deployed even when only a parameter has changed.
revision=$(date -u +%Y%m%dT%H%M%SZ)
if commit=$(git rev-parse --short HEAD 2>/dev/null); then revision+=-$commit; fi
template=.local/deploy/template.yaml
"$venv/bin/python" infrastructure/assemble.py "$template" --revision "$revision"

aws cloudformation deploy --stack-name "$stack" --template-file "$template" \
  --s3-bucket "$bucket" --s3-prefix templates --capabilities CAPABILITY_NAMED_IAM --tags sorry:service=sorry \
  --parameter-overrides "${parameters[@]}" "Revision=$revision" "$@"

output_of() {
  aws cloudformation describe-stacks --stack-name "$stack" --output text \
    --query "Stacks[0].Outputs[?OutputKey=='$1'].OutputValue | [0]"
}
aws cloudformation describe-stacks --stack-name "$stack" --output table \
  --query 'Stacks[0].Outputs[].[OutputKey,OutputValue]'
endpoint=$(output_of Endpoint)
topic=$(output_of AlertTopicArn)

# ── Calls that must be refused ─────────────────────────────────────────────────────────────────────────────────────────────────
# A resource policy takes effect with a deployment of the stage; this shows that it did. A new stage takes a moment.
# status METHOD PATH: of a request that nobody signed.
status() { curl --silent --show-error --max-time 20 --output /dev/null --write-out '%{http_code}' --request "$1" "$endpoint$2"; }

must_be() {
  local expected=$1 what=$2 got
  shift 2
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    got=$("$@") || got="no answer"
    if [[ $got == "$expected" ]]; then
      say "ok: $what: $got"
      return
    fi
    sleep 3
  done
  fail "$what: $got, and not $expected" "the API at $endpoint is not what was deployed; do not use it before you know why"
}

must_be 403 "an unsigned request" status GET /whoami
must_be 403 "an unsigned request to /admin" status GET /admin/callers

# Signed by whoever deploys: refused unless they are an administrator. The key goes to curl through its standard input.
signed() {
  local keys
  keys=$(aws configure export-credentials --format env-no-export 2>/dev/null) || return 1
  python3 -c '
import sys
keys = dict(line.split("=", 1) for line in sys.argv[1].splitlines() if "=" in line)
print("user = \"%s:%s\"" % (keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"]))
if keys.get("AWS_SESSION_TOKEN"):
    print("header = \"x-amz-security-token: %s\"" % keys["AWS_SESSION_TOKEN"])
' "$keys" | curl --silent --show-error --max-time 20 --output /dev/null --write-out '%{http_code}' --config - \
    --aws-sigv4 "aws:amz:$region:execute-api" --request GET "$endpoint/admin/callers"
}
if aws configure export-credentials --format env-no-export >/dev/null 2>&1; then
  named=$(aws cloudformation describe-stacks --stack-name "$stack" --output text \
    --query "Stacks[0].Parameters[?ParameterKey=='AdministratorArns'].ParameterValue | [0]")
  me=$arn
  if [[ $arn == *:assumed-role/* ]]; then
    name=${arn#*:assumed-role/}
    me=$(aws iam get-role --role-name "${name%%/*}" --query Role.Arn --output text)
  fi
  if [[ ",$named," == *",$me,"* ]]; then
    say "an administrator's request to /admin, signed: $(signed || true)"
  else
    must_be 403 "the request to /admin of someone who is no administrator" signed
  fi
else
  say "not checked: a signed request to /admin; this AWS CLI cannot export its credentials"
fi

mkdir -p .local/deploy
printf 'export SORRY_ENDPOINT=%q\nexport AWS_REGION=%q\n' "$endpoint" "$region" >.local/deploy/env
cat >&2 <<HINT

deployed. On every machine that uses it, one of:
  export SORRY_ENDPOINT=$endpoint          (here: source .local/deploy/env)
  endpoint = "$endpoint"                   in ~/.config/sorry/config.toml
next:
  aws sns subscribe --topic-arn $topic --protocol email --notification-endpoint security@example.org
  sorry admin callers add sue-mgr --tier developer=8 --tier read-only=36
  sorry doctor
HINT
