//! The service's endpoint as the outputs of its CloudFormation stack name it. Callers may not read them as a rule, administrators may.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{
    app::{App, Aws},
    env_vars,
};

/// The output `Endpoint`, where there is such a stack and this key may look at it.
pub(super) async fn endpoint(app: &App, aws: &Aws, stack: &str) -> Option<String> {
    let region = &aws.region;
    let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    let host = match app.settings.environment.get(env_vars::AWS_ENDPOINT_URL) {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => format!("https://cloudformation.{region}.{suffix}"),
    };
    let stack = utf8_percent_encode(stack, NON_ALPHANUMERIC);
    let url = format!("{host}/?Action=DescribeStacks&StackName={stack}&Version=2010-05-15");
    output(&aws.document(app, &url, "cloudformation").await?, "Endpoint").map(str::to_owned)
}

/// An output out of the answer's XML, which is not worth a parser: the values are URLs and names.
fn output<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    let key = format!("<OutputKey>{name}</OutputKey>");
    let output = document.split("<member>").find(|member| member.contains(&key))?;
    output.split("<OutputValue>").nth(1)?.split("</OutputValue>").next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_that_name_is_found() {
        let document = "<Outputs><member><Description>x</Description><OutputKey>ApiId</OutputKey><OutputValue>abc</OutputValue></member>\
                        <member><OutputKey>Endpoint</OutputKey><OutputValue>https://a/v1</OutputValue></member></Outputs>";
        assert_eq!(output(document, "Endpoint"), Some("https://a/v1"));
        assert_eq!(output(document, "ApiId"), Some("abc"));
        assert_eq!(output("<ErrorResponse/>", "Endpoint"), None);
    }
}
