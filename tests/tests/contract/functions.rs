//! One folder in `functions/` is one Lambda, one IAM role, one log group, one package with one binary.

use std::collections::BTreeSet;

use serde_json::json;

use crate::project::{Template, each, found, functions, rendered, text, the_only, toml};

fn prefixed(prefix: &str) -> BTreeSet<String> {
    functions().iter().map(|function| format!("{prefix}{function}")).collect()
}

fn named(kind: &str, property: &str, prefix: &str) -> BTreeSet<String> {
    let resources = Template::deployed().of_type(kind);
    let names: Vec<_> = resources.values().map(|resource| rendered(&resource[property])).collect();
    let wanted: Vec<_> = names.into_iter().filter(|name| name.starts_with(prefix)).collect();
    let distinct: BTreeSet<_> = wanted.iter().cloned().collect();
    assert_eq!(distinct.len(), wanted.len(), "two of type {kind} have the same name: {wanted:?}");
    distinct
}

#[test]
fn every_folder_has_one_lambda_one_role_and_one_log_and_there_are_no_others() {
    for (kind, property, prefix) in [
        ("AWS::Lambda::Function", "FunctionName", "sorry-"),
        ("AWS::IAM::Role", "RoleName", "sorry-function-"),
        ("AWS::Logs::LogGroup", "LogGroupName", "/aws/lambda/sorry-"),
    ] {
        assert_eq!(
            named(kind, property, prefix),
            prefixed(prefix),
            "left: what infrastructure/template.yaml has of {kind}; right: what the folders of functions/ call for"
        );
    }
    let every_lambda = Template::deployed().of_type("AWS::Lambda::Function");
    assert_eq!(
        every_lambda.len(),
        functions().len(),
        "a Lambda that is no folder of functions/: {every_lambda:?}"
    );
}

#[test]
fn a_function_has_its_own_code_role_and_log() {
    let template = Template::deployed();
    for name in functions() {
        let (id, function) = template.function(&name);
        let stem = id.strip_suffix("Function").unwrap_or_else(|| panic!("`{id}` should be called …Function"));
        let expected = [
            ("Role", format!("${{{stem}Role.Arn}}")),
            ("Runtime", "provided.al2023".to_owned()),
            ("Handler", "bootstrap".to_owned()),
        ];
        for (property, value) in expected {
            assert_eq!(rendered(&function[property]), value, "{property} of {id}");
        }
        assert_eq!(
            rendered(&function["Code"]["S3Key"]),
            format!("${{CodePrefix}}{name}.zip"),
            "code of {id}"
        );
        assert_eq!(
            rendered(&function["LoggingConfig"]["LogGroup"]),
            format!("${{{stem}Log}}"),
            "log of {id}"
        );
        assert_eq!(
            template.resource(&format!("{stem}Log"))["LogGroupName"],
            format!("/aws/lambda/sorry-{name}")
        );

        let role = template.resource(&format!("{stem}Role"));
        assert_eq!(role["RoleName"], format!("sorry-function-{name}"));
        assert_eq!(role["Path"], "/sorry/service/", "sessions may not touch what lies there; role of {id}");
        let trust = role["AssumeRolePolicyDocument"]["Statement"].as_array().unwrap();
        assert_eq!(trust.len(), 1, "{stem}Role is for the function alone");
        assert_eq!(each(&trust[0]["Principal"]["Service"]), ["lambda.amazonaws.com"]);
        let account = json!({"aws:SourceAccount": {"Ref": "AWS::AccountId"}});
        assert_eq!(trust[0]["Condition"]["StringEquals"], account, "{stem}Role is for this account, always");
        let bound = &trust[0]["Condition"]["ArnLike"]["Fn::If"];
        assert_eq!(
            bound[0], "FunctionRolesAreBound",
            "{stem}Role stands by the parameter `BindFunctionRoles`"
        );
        let source = rendered(&bound[1]["aws:SourceArn"]);
        assert!(source.ends_with(&format!(":function:sorry-{name}")), "{stem}Role is trusted for `{source}`");
    }
}

#[test]
fn every_function_is_a_member_with_a_binary_of_its_name() {
    let manifest = toml("Cargo.toml");
    let members = each(&manifest["workspace"]["members"]);
    let members: BTreeSet<_> =
        members.into_iter().filter(|member| member.starts_with("functions/")).collect();
    assert_eq!(
        members,
        prefixed("functions/"),
        "left: members of the workspace in Cargo.toml; right: folders"
    );
    for name in functions() {
        let package = toml(&format!("functions/{name}/Cargo.toml"));
        assert_eq!(package["package"]["name"], format!("sorry-{name}"), "the package's name is its binary's");
        assert!(package.get("bin").is_none(), "functions/{name}: src/main.rs alone is the binary");
        assert!(
            text(&format!("functions/{name}/src/main.rs")).starts_with("//! "),
            "say what functions/{name} is"
        );
    }
}

#[test]
fn what_packages_and_deploys_them_knows_them_all() {
    let bash = r"(?m)^readonly functions=\(([^)]*)\)";
    let python = r"(?m)^FUNCTIONS = \(([^)]*)\)";
    for (file, list) in [
        ("infrastructure/package.sh", bash),
        ("infrastructure/deploy.sh", bash),
        ("tests/local/local_aws.py", python),
    ] {
        let names = found(r"([a-z][a-z-]+)", &the_only(list, &text(file), file));
        assert_eq!(
            BTreeSet::from_iter(names),
            functions(),
            "left: the functions in {file}; right: the folders"
        );
    }
}
