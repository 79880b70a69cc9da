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
#   SKIP_CHECKS    anything: do not end with check.sh, which shows that the gateway refuses what it must
# Needs: the AWS CLI, signed in with rights over IAM; curl; what package.sh needs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly functions=(api issue provision clean-up sweep alert)
readonly output=target/lambda
readonly venv=.local/package-venv
export AWS_PAGER=""
# shellcheck source=infrastructure/common.sh
source infrastructure/common.sh

say() { printf '%s\n' "$*" >&2; }

need aws curl python3
for argument in "$@"; do
  [[ $argument =~ ^[A-Za-z]+= ]] || fail "\`$argument\` is no parameter" "write Parameter=value"
done

sign_in
bucket=${CODE_BUCKET:-sorry-code-$account-$region}
architecture=${ARCHITECTURE:-arm64}
say "deploying stack \`$stack\` to account $account, region $region, as $arn"

# A stack that has failed, or that somebody else is changing, takes no update; each state has its own way out.
exists=true
status=$(stack_status)
case $status in
  "") exists=false ;;
  REVIEW_IN_PROGRESS)
    fail "the stack \`$stack\` is REVIEW_IN_PROGRESS: a first deployment was prepared and not carried out" \
      "if nobody is deploying right now: aws cloudformation delete-stack --stack-name $stack; there is nothing in it yet"
    ;;
  *_IN_PROGRESS)
    fail "the stack \`$stack\` is $status: somebody else is changing it" \
      "wait until that is over: aws cloudformation describe-stacks --stack-name $stack --query 'Stacks[0].StackStatus'"
    ;;
  ROLLBACK_COMPLETE)
    fail "the stack \`$stack\` is ROLLBACK_COMPLETE: its first deployment failed and was undone; it cannot be updated" \
      "aws cloudformation describe-stack-events --stack-name $stack says why it failed" \
      "aws cloudformation delete-stack --stack-name $stack; then deploy again"
    ;;
  ROLLBACK_FAILED | CREATE_FAILED | DELETE_FAILED)
    fail "the stack \`$stack\` is $status: it could not be removed whole" \
      "aws cloudformation describe-stack-events --stack-name $stack says why; most often it is the tables' deletion protection" \
      "infrastructure/destroy.sh --dry-run --delete-data says what would be removed, and without --dry-run lifts that protection and removes it" \
      "if sessions were lent or there is an audit to keep, export the tables first"
    ;;
  UPDATE_ROLLBACK_FAILED)
    fail "the stack \`$stack\` is UPDATE_ROLLBACK_FAILED: an update failed and could not be undone" \
      "aws cloudformation describe-stack-events --stack-name $stack says why; put that right, then" \
      "aws cloudformation continue-update-rollback --stack-name $stack; then deploy again"
    ;;
esac

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
  # Without aws:SourceAccount: API Gateway's guide does not say that it sends that here, and all that the role can do is write logs.
  trust='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"apigateway.amazonaws.com"},"Action":"sts:AssumeRole"}]}'
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
# Lambda leaves 100 executions to all functions together: below that nothing can be reserved.
if [[ $exists == false && " $*" != *" ReservedConcurrency="* ]]; then
  unreserved=$(aws lambda get-account-settings --query AccountLimit.UnreservedConcurrentExecutions --output text || true)
  if [[ $unreserved =~ ^[0-9]+$ ]] && ((unreserved >= 200)); then
    parameters+=(ReservedConcurrency=10)
    say "reserving 10 concurrent executions for each function that ends sessions or tells security"
  else
    say "note: this account's concurrency is ${unreserved:-unknown}, of which nothing can be reserved; docs/runbook.md#sorry-api-throttles"
  fi
fi
if [[ $exists == false && " $*" != *" AdministratorArns="* ]]; then
  administrator=$(principal) || fail "the role of $arn cannot be looked at" "whoever deploys needs iam:GetRole, or: AdministratorArns=<ARN>"
  say "administrator: $administrator"
  parameters+=("AdministratorArns=$administrator")
  if [[ " $* " != *" RequireMfa=false "* && " $*" != *" IdentityProviderRoleArns="* ]]; then
    if [[ $arn == *:assumed-role/* ]]; then
      say "note: the session of a role shows no MFA, so the gateway lets this administrator look and refuses changes"
      say "hint: if its identity provider asks for MFA: IdentityProviderRoleArns=$administrator"
    elif [[ $arn == *:user/* ]] &&
      devices=$(aws iam list-mfa-devices --user-name "${arn##*/}" --query 'length(MFADevices)' --output text) && [[ $devices == 0 ]]; then
      say "note: this administrator has no MFA device, so the gateway lets it look and refuses changes"
      say "hint: aws iam enable-mfa-device gives it one; people of an identity provider: AdministratorArns and IdentityProviderRoleArns"
    fi
  fi
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
  --parameter-overrides "${parameters[@]}" "Revision=$revision" "$@" ||
  fail "the stack \`$stack\` was not deployed" "aws cloudformation describe-stack-events --stack-name $stack says why" \
    "\`cannot be assumed by Lambda\` with BindFunctionRoles=true: deploy with BindFunctionRoles=false"

output_of() {
  aws cloudformation describe-stacks --stack-name "$stack" --output text \
    --query "Stacks[0].Outputs[?OutputKey=='$1'].OutputValue | [0]"
}
aws cloudformation describe-stacks --stack-name "$stack" --output table \
  --query 'Stacks[0].Outputs[].[OutputKey,OutputValue]'
endpoint=$(output_of Endpoint)
topic=$(output_of AlertTopicArn)

if [[ -z ${SKIP_CHECKS:-} ]]; then
  STACK=$stack infrastructure/check.sh
else
  say "not checked: whether the gateway refuses what it must; infrastructure/check.sh does"
fi

mkdir -p .local/deploy
printf 'export SORRY_ENDPOINT=%q\nexport AWS_REGION=%q\n' "$endpoint" "$region" >.local/deploy/env
cat >&2 <<HINT

deployed. On every machine that uses it, one of:
  export SORRY_ENDPOINT=$endpoint          (here: source .local/deploy/env)
  endpoint = "$endpoint"                   in ~/.config/sorry/config.toml
next:
  aws sns subscribe --topic-arn $topic --protocol email --notification-endpoint security@example.org
  sorry admin callers add sue-mgr --tier developer=8 --tier read-only=36 --mfa
  sorry doctor
HINT
