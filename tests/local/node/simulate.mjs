// Judges IAM questions with @cloud-copilot/iam-simulate, which knows nothing of this project or of the local AWS.
//
// Standard input is one JSON object, standard output a JSON array with one answer for each question:
//
//   {"documents": {name: policy document}, "questions": [
//     {"principal": ARN, "action": "s3:GetObject", "resource": ARN or "*", "account": id of the resource's account,
//      "context": {key: value or [values]}, "identity": [names], "boundary": name, "resource_policy": name}]}
//
//   {"verdict": "Allowed" | "ExplicitlyDenied" | "ImplicitlyDenied", "ignored": [context keys that the action does not have],
//    "denied_by": [Sids of the boundary's statements that deny]}
//   or {"error": what the simulator could not read}
//
// The package is under the AGPL: a program of the tests, run as this process of its own, and part of nothing that is shipped.

import { readFileSync } from "node:fs";
import { createValidatedPolicy, validateIdentityPolicy, validateResourcePolicy } from "@cloud-copilot/iam-policy";
import { runSimulation } from "@cloud-copilot/iam-simulate";

// The simulator takes no name after `kms:EncryptionContext:`, and does so after the slash of a key that every action knows.
const input = readFileSync(0, "utf8").replaceAll('"kms:EncryptionContext:', '"aws:PrincipalTag/kms:EncryptionContext:');
const { documents, questions } = JSON.parse(input);

// A document is checked once, and not with every question.
const checked = new Map();
const named = (name, validate = validateIdentityPolicy) => {
  if (!(name in documents)) throw new Error(`no document ${name}`);
  if (!checked.has(name)) checked.set(name, createValidatedPolicy(documents[name], validate));
  return { name, policy: checked.get(name) };
};

async function answer(question) {
  const result = await runSimulation(
    {
      request: {
        principal: question.principal,
        action: question.action,
        resource: { resource: question.resource, accountId: question.account },
        contextVariables: question.context,
      },
      identityPolicies: question.identity.map((name) => named(name)),
      serviceControlPolicies: [],
      resourceControlPolicies: [],
      ...(question.boundary && { permissionBoundaryPolicies: [named(question.boundary)] }),
      ...(question.resource_policy && { resourcePolicy: named(question.resource_policy, validateResourcePolicy).policy }),
    },
    {},
  );
  if (result.resultType === "error") return { error: JSON.stringify(result.errors) };
  const results = result.resultType === "single" ? [result.result] : result.results;
  const denials = results.flatMap((one) => one.analysis.permissionBoundaryAnalysis?.denyStatements ?? []);
  return {
    verdict: result.overallResult,
    ignored: results.flatMap((one) => one.ignoredContextKeys ?? []),
    denied_by: denials.map((denial) => denial.statement.sid()),
  };
}

const answers = [];
for (const question of questions) {
  answers.push(await answer(question));
}
process.stdout.write(JSON.stringify(answers));
