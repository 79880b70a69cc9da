//! A local AWS with the real deployment on it, for one test.

use std::{path::Path, process::Command, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{ChaosProxy, Judge, Keys, Person, Verdict};

/// A server of its own, with the stack deployed; it ends with this value, or with the test.
pub struct LocalAws {
    state: TempDir,
    outputs: Value,
    /// Tries what credentials can do.
    pub judge: Judge,
}

impl LocalAws {
    /// Starts one that does not ask for MFA: a device has a code every 30 seconds, and most tests are about something else. Nobody is
    /// registered.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with other parameters of the template, as `Name=Value`.
    pub fn start_with(parameters: &[&str]) -> Self {
        Self::up(parameters, &[])
    }

    /// Starts one that keeps its state when it is restarted, and whose functions reach it through a proxy only.
    pub fn start_behind(proxy: &ChaosProxy, parameters: &[&str]) -> Self {
        let aws = Self::up(parameters, &["--keep-state", "--functions-endpoint", &proxy.url()]);
        let port = aws.output("endpoint_url").rsplit(':').next().and_then(|port| port.parse().ok());
        proxy.lead_to(port.expect("a port"));
        aws
    }

    /// Ends the server and starts it again with the same state. Functions and executions that ran are lost.
    #[track_caller]
    pub fn restart(&self, proxy: &ChaosProxy) {
        let done = Command::new(crate::python())
            .arg(crate::project().join("tests/local/local_aws.py"))
            .args(["restart", "--watch-parent", &std::process::id().to_string()])
            .args(["--functions-endpoint", &proxy.url()])
            .arg("--state")
            .arg(self.state.path())
            .output()
            .expect("Python runs");
        assert!(
            done.status.success(),
            "the local AWS did not restart:\n{}",
            String::from_utf8_lossy(&done.stderr)
        );
    }

    fn up(parameters: &[&str], flags: &[&str]) -> Self {
        let state = TempDir::with_prefix("sorry-local-aws-").expect("a folder can be made");
        let mut command = Command::new(crate::python());
        command
            .arg(crate::project().join("tests/local/local_aws.py"))
            .args(["up", "--no-callers", "--watch-parent", &std::process::id().to_string()])
            .arg("--state")
            .arg(state.path())
            .arg("--binaries")
            .arg(crate::binaries())
            .args(flags);
        for parameter in ["RequireMfa=false"].iter().chain(parameters) {
            command.args(["--set", parameter]);
        }
        let done = command.output().expect("Python runs");
        assert!(
            done.status.success(),
            "the local AWS did not start:\n{}",
            String::from_utf8_lossy(&done.stderr)
        );
        let outputs =
            std::fs::read_to_string(state.path().join("outputs.json")).expect("outputs were written");
        let outputs: Value = serde_json::from_str(&outputs).expect("outputs are JSON");
        let text = |name: &str| outputs[name].as_str().expect("a text output").to_owned();
        let judge = Judge::new(&text("endpoint_url"), &text("endpoint"));
        Self { state, outputs, judge }
    }

    /// An output of the stack, or of the launcher (`endpoint`, `endpoint_url`).
    #[track_caller]
    pub fn output(&self, name: &str) -> &str {
        self.outputs[name].as_str().unwrap_or_else(|| panic!("there is no output {name}"))
    }

    /// The folder of this server: its log, and its `config` and `credentials`.
    pub fn folder(&self) -> &Path {
        self.state.path()
    }

    /// Keys of the administrator.
    pub fn administrator(&self) -> Keys {
        serde_json::from_value(self.outputs["administrator"].clone()).expect("keys")
    }

    /// An AWS call as the administrator; it must succeed.
    #[track_caller]
    pub fn call(&self, call: &str, parameters: Value) -> Value {
        self.judge.call(&self.administrator(), call, parameters).allowed()
    }

    /// An AWS call as the administrator, whatever comes of it.
    pub fn try_call(&self, call: &str, parameters: Value) -> Verdict {
        self.judge.call(&self.administrator(), call, parameters)
    }

    /// Somebody at a shell with these keys, registered or not.
    pub fn person(&self, name: &str, keys: &Keys) -> Person {
        Person::new(self, name, keys)
    }

    /// A role of people or of a robot, of a namespace, with what IAM must allow to a caller; the administrator can assume it. Its ARN.
    #[track_caller]
    pub fn caller_role(&self, name: &str, namespace: &str) -> String {
        let statement = json!({
            "Effect": "Allow", "Principal": {"AWS": self.output_of("administrator", "arn")},
            "Action": ["sts:AssumeRole", "sts:SetSourceIdentity"],
        });
        let trust = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
        let tags = json!([{"Key": "sorry:namespace", "Value": namespace}]);
        let role =
            json!({"RoleName": name, "Path": "/people/", "AssumeRolePolicyDocument": trust, "Tags": tags});
        let made = self.call("iam.create_role", role);
        let policy = self.output("CallerPolicyArn");
        self.call("iam.attach_role_policy", json!({"RoleName": name, "PolicyArn": policy}));
        made["Role"]["Arn"].as_str().expect("an ARN").to_owned()
    }

    #[track_caller]
    fn output_of(&self, name: &str, member: &str) -> &str {
        self.outputs[name][member].as_str().unwrap_or_else(|| panic!("there is no {member} of {name}"))
    }

    /// Keys of a session of a role, which the administrator assumes with `parameters` beside `RoleArn`.
    #[track_caller]
    pub fn role_session(&self, role_arn: &str, mut parameters: Value) -> Keys {
        parameters["RoleArn"] = role_arn.into();
        keys_of(&self.call("sts.assume_role", parameters))
    }

    /// The administrator at a shell.
    pub fn administrator_person(&self) -> Person {
        Person::new(self, "administrator", &self.administrator())
    }

    /// As [`Self::administrator_person`], with a device for MFA codes.
    #[track_caller]
    pub fn administrator_with_mfa(&self) -> Person {
        let seed = self.enable_mfa_device("local-administrator");
        self.administrator_person().with_mfa(&seed)
    }

    /// Gives a user a device for MFA codes; its seed.
    #[track_caller]
    pub fn enable_mfa_device(&self, user: &str) -> String {
        let made = self.call("iam.create_virtual_mfa_device", json!({"VirtualMFADeviceName": user}));
        let device = &made["VirtualMFADevice"];
        let seed = device["Base32StringSeed"].as_str().expect("a seed").to_owned();
        let person = self.administrator_person().with_mfa(&seed);
        // Half a minute may end between the two, and then they do not belong together.
        let patience = Duration::from_secs(60);
        crate::eventually("the device is enabled", patience, || {
            let (first, second) = (person.mfa_code_of_step(-1), person.mfa_code_of_step(0));
            let enable = json!({
                "UserName": user, "SerialNumber": device["SerialNumber"],
                "AuthenticationCode1": first, "AuthenticationCode2": second,
            });
            matches!(self.try_call("iam.enable_mfa_device", enable), Verdict::Allowed(_)).then_some(())
        });
        seed
    }

    /// Registers a caller for all tiers, with `sorry` itself, and gives them a shell.
    #[track_caller]
    pub fn register(&self, user_name: &str) -> Person {
        self.register_with(user_name, &[])
    }

    /// As [`Self::register`], with more words of `sorry admin callers add`.
    #[track_caller]
    pub fn register_with(&self, user_name: &str, flags: &[&str]) -> Person {
        let keys = serde_json::from_value(self.add_caller(user_name, flags)).expect("the answer has a key");
        Person::new(self, user_name, &keys)
    }

    /// Somebody who approves and reviews what others ask for.
    #[track_caller]
    pub fn register_approver(&self, user_name: &str) -> Person {
        self.register_as(user_name, &["approver"])
    }

    /// As [`Self::register`], with these roles instead of `caller` alone.
    #[track_caller]
    pub fn register_as(&self, user_name: &str, roles: &[&str]) -> Person {
        let flags: Vec<_> = roles.iter().flat_map(|role| ["--role", role]).collect();
        self.register_with(user_name, &flags)
    }

    /// As [`Self::register`], with a device for MFA codes.
    #[track_caller]
    pub fn register_with_mfa(&self, user_name: &str) -> Person {
        self.add_with_mfa(user_name, &["--mfa"])
    }

    /// As [`Self::register_approver`], with a device for MFA codes.
    #[track_caller]
    pub fn register_approver_with_mfa(&self, user_name: &str) -> Person {
        self.add_with_mfa(user_name, &["--mfa", "--role", "approver"])
    }

    #[track_caller]
    fn add_with_mfa(&self, user_name: &str, flags: &[&str]) -> Person {
        let answer = self.add_caller(user_name, flags);
        let seed = answer["mfa_device"]["secret"].as_str().expect("the answer has a seed").to_owned();
        let keys = serde_json::from_value(answer).expect("the answer has a key");
        Person::new(self, user_name, &keys).with_mfa(&seed)
    }

    #[track_caller]
    fn add_caller(&self, user_name: &str, flags: &[&str]) -> Value {
        let tiers = ["read-only=36", "developer=8", "admin=8", "break-glass=1"];
        let mut arguments = vec!["admin", "callers", "add", user_name, "--output", "json"];
        arguments.extend(flags);
        for tier in tiers {
            arguments.extend(["--tier", tier]);
        }
        self.administrator_person().sorry(&arguments).success().json()
    }

    /// All items of a list that comes in pages: `next` names the place in the answer, and in the question for the next page.
    pub fn pages(&self, call: &str, mut question: Value, next: (&str, &str), items: &str) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let answer = self.call(call, question.clone());
            all.extend(answer[items].as_array().cloned().unwrap_or_default());
            match answer.get(next.0) {
                Some(place) => question[next.1] = place.clone(),
                None => return all,
            }
        }
    }

    /// All items of a table.
    pub fn items(&self, table: &str) -> Vec<Value> {
        let scan = json!({"TableName": table, "ConsistentRead": true});
        self.pages("dynamodb.scan", scan, ("LastEvaluatedKey", "ExclusiveStartKey"), "Items")
    }

    /// The rows of sessions, without the canary.
    pub fn session_rows(&self) -> Vec<Value> {
        let mut rows = self.items("sorry-sessions");
        rows.retain(|row| row["session_id"]["S"] != "canary");
        rows
    }

    /// Names of the roles under a path.
    pub fn roles(&self, path: &str) -> Vec<String> {
        let list = json!({"PathPrefix": path, "MaxItems": 1000});
        let roles = self.pages("iam.list_roles", list, ("Marker", "Marker"), "Roles");
        roles.iter().map(|role| role["RoleName"].as_str().expect("a name").to_owned()).collect()
    }

    /// Runs the sweep now, as its schedule does every minute, and gives its report.
    #[track_caller]
    pub fn sweep(&self) -> Value {
        let answer = self.call(
            "lambda.invoke",
            json!({"FunctionName": self.output("SweepFunctionName"), "Payload": "{}"}),
        );
        assert!(answer.get("FunctionError").is_none(), "the sweep failed: {answer}");
        serde_json::from_str(answer["Payload"].as_str().expect("a payload")).expect("a report")
    }

    /// A queue that is subscribed to the alert topic; what arrives there arrives at security.
    pub fn subscribe_to_alerts(&self) -> Queue<'_> {
        let queue = self.queue("security");
        let topic = self.output("AlertTopicArn");
        self.call("sns.subscribe", json!({"TopicArn": topic, "Protocol": "sqs", "Endpoint": queue.arn}));
        queue
    }

    /// A queue that gets every event of the service's bus.
    pub fn listen_to_events(&self) -> Queue<'_> {
        let queue = self.queue("events");
        let bus = self.output("EventBusName");
        self.call(
            "events.put_rule",
            json!({"Name": "all", "EventBusName": bus, "EventPattern": r#"{"source":["sorry"]}"#}),
        );
        let target = json!([{"Id": "queue", "Arn": queue.arn}]);
        self.call("events.put_targets", json!({"Rule": "all", "EventBusName": bus, "Targets": target}));
        queue
    }

    fn queue(&self, name: &str) -> Queue<'_> {
        let url = self.call("sqs.create_queue", json!({"QueueName": name}))["QueueUrl"]
            .as_str()
            .expect("a URL")
            .to_owned();
        let attributes =
            self.call("sqs.get_queue_attributes", json!({"QueueUrl": url, "AttributeNames": ["QueueArn"]}));
        let arn = attributes["Attributes"]["QueueArn"].as_str().expect("an ARN").to_owned();
        // As on AWS: a queue takes nothing from a service that its policy does not name.
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"Service": ["sns.amazonaws.com", "events.amazonaws.com"]},
            "Action": "sqs:SendMessage", "Resource": arn,
        }]});
        self.call(
            "sqs.set_queue_attributes",
            json!({"QueueUrl": url, "Attributes": {"Policy": policy.to_string()}}),
        );
        Queue { aws: self, url, arn }
    }
}

/// Keys in an answer of STS.
#[track_caller]
pub fn keys_of(answer: &Value) -> Keys {
    let text = |name: &str| answer["Credentials"][name].as_str().expect("a text").to_owned();
    Keys {
        access_key_id: text("AccessKeyId"),
        secret_access_key: text("SecretAccessKey"),
        session_token: Some(text("SessionToken")),
    }
}

impl Drop for LocalAws {
    fn drop(&mut self) {
        let done = Command::new(crate::python())
            .arg(crate::project().join("tests/local/local_aws.py"))
            .args(["down", "--state"])
            .arg(self.state.path())
            .output();
        if !done.is_ok_and(|done| done.status.success()) {
            eprintln!("the local AWS did not end; it will with this process");
        }
    }
}

/// A queue that something is delivered to.
pub struct Queue<'a> {
    aws: &'a LocalAws,
    url: String,
    arn: String,
}

impl Queue<'_> {
    /// Everything that has arrived since the last look, each with the time at which it was sent, in milliseconds.
    pub fn arrived(&self) -> Vec<(u64, String)> {
        let mut messages = Vec::new();
        loop {
            let wanted =
                json!({"QueueUrl": self.url, "MaxNumberOfMessages": 10, "AttributeNames": ["SentTimestamp"]});
            let answer = self.aws.call("sqs.receive_message", wanted);
            let Some(received) = answer["Messages"].as_array().filter(|received| !received.is_empty()) else {
                return messages;
            };
            for message in received {
                let sent = message["Attributes"]["SentTimestamp"].as_str().and_then(|sent| sent.parse().ok());
                messages.push((
                    sent.unwrap_or_default(),
                    message["Body"].as_str().unwrap_or_default().to_owned(),
                ));
                self.aws.call(
                    "sqs.delete_message",
                    json!({"QueueUrl": self.url, "ReceiptHandle": message["ReceiptHandle"]}),
                );
            }
        }
    }
}
