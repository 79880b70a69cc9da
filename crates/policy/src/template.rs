//! Fills a tier's policy template. Values go into strings of a document that is already parsed, never into its text, so no value
//! can change the structure; and every value is a validated name, so none can widen an ARN.

use serde_json::Value;

use crate::{AccountId, Namespace, Partition, ProjectName, Region, SessionId};

/// What a template may name.
#[derive(Clone, Debug)]
pub struct Variables<'a> {
    /// `${namespace}`
    pub namespace: &'a Namespace,
    /// `${project}`; a statement that names it is left out of a session without a project.
    pub project: Option<&'a ProjectName>,
    /// `${session}`
    pub session: &'a SessionId,
    /// `${account}`
    pub account: &'a AccountId,
    /// `${region}`
    pub region: &'a Region,
    /// `${partition}`
    pub partition: &'a Partition,
}

/// A template that cannot be filled.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// It is not JSON.
    #[error("the policy template is not JSON")]
    NotJson(#[from] serde_json::Error),
    /// It has no list of statements.
    #[error("the policy template has no list `Statement`")]
    NoStatements,
    /// It names something that [`Variables`] does not offer.
    #[error("the policy template uses the unknown variable `${{{0}}}`")]
    UnknownVariable(String),
    /// A `${` without its `}`.
    #[error("the policy template has an unfinished variable in `{0}`")]
    Unfinished(String),
}

enum Filled {
    Text(String),
    /// The string names `${project}` and the session has none.
    NeedsProject,
}

/// Fills `template` and returns its statements.
///
/// # Errors
/// When the template is not a policy, or names a variable that does not exist.
pub fn render(template: &str, variables: &Variables<'_>) -> Result<Vec<Value>, RenderError> {
    let document: Value = serde_json::from_str(template)?;
    let Some(Value::Array(statements)) = document.get("Statement") else {
        return Err(RenderError::NoStatements);
    };
    let mut rendered = Vec::with_capacity(statements.len());
    for statement in statements {
        let mut statement = statement.clone();
        if fill(&mut statement, variables)? {
            rendered.push(statement);
        }
    }
    Ok(rendered)
}

/// Fills every string below `value`; `false` when one of them needs a project that is not there.
fn fill(value: &mut Value, variables: &Variables<'_>) -> Result<bool, RenderError> {
    match value {
        Value::String(text) => match substitute(text, variables)? {
            Filled::Text(filled) => *text = filled,
            Filled::NeedsProject => return Ok(false),
        },
        Value::Array(items) => {
            for item in items {
                if !fill(item, variables)? {
                    return Ok(false);
                }
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                // Condition keys are fixed: a variable there would be a variable in the structure.
                if let Some((_, name)) = key.split_once("${") {
                    return Err(RenderError::UnknownVariable(name.trim_end_matches('}').to_owned()));
                }
                if !fill(member, variables)? {
                    return Ok(false);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    Ok(true)
}

fn substitute(text: &str, variables: &Variables<'_>) -> Result<Filled, RenderError> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, remainder)) = after.split_once('}') else {
            return Err(RenderError::Unfinished(text.to_owned()));
        };
        filled.push_str(before);
        match name {
            "namespace" => filled.push_str(variables.namespace.as_str()),
            "session" => filled.push_str(variables.session.as_str()),
            "account" => filled.push_str(variables.account.as_str()),
            "region" => filled.push_str(variables.region.as_str()),
            "partition" => filled.push_str(variables.partition.as_str()),
            "project" => match variables.project {
                Some(project) => filled.push_str(project.as_str()),
                None => return Ok(Filled::NeedsProject),
            },
            // IAM's own variables are resolved by AWS at every request.
            _ if name.starts_with("aws:") => {
                filled.push_str("${");
                filled.push_str(name);
                filled.push('}');
            }
            _ => return Err(RenderError::UnknownVariable(name.to_owned())),
        }
        rest = remainder;
    }
    filled.push_str(rest);
    Ok(Filled::Text(filled))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn rendered(template: &Value, project: Option<&str>) -> Result<Vec<Value>, RenderError> {
        render(
            &template.to_string(),
            &Variables {
                namespace: &"sue".parse().unwrap(),
                project: project.map(|name| name.parse().unwrap()).as_ref(),
                session: &SessionId::from_random([7; 10]),
                account: &"123456789012".parse().unwrap(),
                region: &"eu-west-2".parse().unwrap(),
                partition: &"aws".parse().unwrap(),
            },
        )
    }

    #[test]
    fn fills_our_variables_and_leaves_awss_own() {
        let template = json!({"Statement": [{"Resource": ["arn:${partition}:s3:::${namespace}-*", "x/${aws:username}"]}]});
        let statements = rendered(&template, None).unwrap();
        assert_eq!(statements, [json!({"Resource": ["arn:aws:s3:::sue-*", "x/${aws:username}"]})]);
    }

    #[test]
    fn a_statement_about_the_project_needs_one() {
        let template = json!({"Statement": [{"Resource": "${project}-a"}, {"Resource": "b"}]});
        assert_eq!(rendered(&template, None).unwrap(), [json!({"Resource": "b"})]);
        assert_eq!(rendered(&template, Some("atlas")).unwrap().len(), 2);
    }

    #[test]
    fn unknown_and_unfinished_variables_are_refused_wherever_they_stand() {
        for resource in ["${namespce}", "${namespace", "${}"] {
            let template = json!({"Statement": [{"Resource": resource}]});
            assert!(rendered(&template, None).is_err(), "{resource}");
        }
        assert!(rendered(&json!({"Statement": [{"Condition": {"${namespace}": "x"}}]}), None).is_err());
        assert!(rendered(&json!({"Statement": {"Resource": "x"}}), None).is_err());
    }

    proptest! {
        #[test]
        fn names_never_change_the_structure(namespace in "[a-z][a-z0-9]{1,19}", project in "[a-z][a-z0-9-]{1,31}") {
            let template = r#"{"Statement": [{"Resource": ["${namespace}", "${project}"]}]}"#;
            let statements = render(template, &Variables {
                namespace: &namespace.parse().unwrap(),
                project: Some(&project.parse().unwrap()),
                session: &SessionId::from_random([7; 10]),
                account: &"123456789012".parse().unwrap(),
                region: &"eu-west-2".parse().unwrap(),
                partition: &"aws".parse().unwrap(),
            }).unwrap();
            prop_assert_eq!(statements, vec![json!({"Resource": [namespace, project]})]);
        }
    }
}
