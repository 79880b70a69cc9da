#!/usr/bin/env bash
# What deploy.sh, check.sh and destroy.sh have in common; they source it.

fail() {
  printf 'error: %s\n' "$1" >&2
  shift
  if (($# > 0)); then printf 'hint: %s\n' "$@" >&2; fi
  exit 1
}

# need TOOL…: each must be there.
need() {
  local tool
  for tool in "$@"; do
    command -v "$tool" >/dev/null || fail "there is no $tool" "install it; infrastructure/README.md lists what deploying needs"
  done
}

# Who is signed in, and where: $account, $arn, $partition, $region, $stack.
# shellcheck disable=SC2034 # for the scripts that source this
sign_in() {
  local identity
  # First, and by both names: version 1 of the AWS CLI knows AWS_DEFAULT_REGION alone.
  region=${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region || true)}}
  [[ -n $region ]] || fail "no region is configured" "set AWS_REGION"
  export AWS_REGION=$region AWS_DEFAULT_REGION=$region
  identity=$(aws sts get-caller-identity --output text --query '[Account,Arn]') ||
    fail "the AWS CLI is not signed in" "aws configure, or aws sso login; then: aws sts get-caller-identity"
  read -r account arn <<<"$identity"
  partition=${arn#arn:} partition=${partition%%:*}
  stack=${STACK:-sorry}
}

# The user or role that is signed in, as a policy names it. The ARN of a role's session lacks the role's path, so IAM is asked.
principal() {
  local name
  if [[ $arn == *:assumed-role/* ]]; then
    name=${arn#*:assumed-role/}
    aws iam get-role --role-name "${name%%/*}" --query Role.Arn --output text
  else
    printf '%s\n' "$arn"
  fi
}

# The state of the stack; nothing when there is none.
stack_status() {
  local answer
  if answer=$(aws cloudformation describe-stacks --stack-name "$stack" --query 'Stacks[0].StackStatus' --output text 2>&1); then
    printf '%s\n' "$answer"
  elif [[ $answer != *"does not exist"* ]]; then
    fail "the stack \`$stack\` cannot be looked at: $answer"
  fi
}
