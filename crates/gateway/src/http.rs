//! From Lambda's HTTP types to the API's own, and back.

use lambda_http::{Body, RequestExt, request::RequestContext};
use sorry_session::{ErrorCode, Identity, Refusal};

use crate::{ApiError, Request, Response};

/// Reads what the gateway passed on.
///
/// # Errors
/// When the gateway did not verify a signature, which its own configuration rules out.
pub fn request(request: &lambda_http::Request) -> Result<Request, Refusal> {
    let unsigned = || {
        let hint = "sign it with AWS Signature Version 4, as `sorry` does";
        Refusal::new(ErrorCode::UnknownCaller, "the request is not signed", hint)
    };
    let Some(RequestContext::ApiGatewayV1(context)) = request.request_context_ref() else {
        return Err(unsigned());
    };
    let from = &context.identity;
    let (Some(account), Some(unique_id), Some(arn)) = (&from.account_id, &from.caller, &from.user_arn) else {
        return Err(unsigned());
    };
    let stage = context.stage.as_deref().unwrap_or_default();
    let path = context.path.as_deref().unwrap_or_default();
    let body = match request.body() {
        Body::Text(text) => text.clone(),
        Body::Binary(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    };
    Ok(Request {
        identity: Identity {
            account: account.parse()?,
            unique_id: unique_id.clone(),
            arn: arn.clone(),
            source_address: from.source_ip.clone(),
        },
        access_key_id: from.access_key.clone().unwrap_or_default(),
        method: context.http_method.to_string(),
        resource: context.resource_path.clone().unwrap_or_default(),
        path: path.strip_prefix(&format!("/{stage}")).unwrap_or(path).to_owned(),
        path_parameters: pairs(&request.path_parameters()),
        query: pairs(&request.query_string_parameters()),
        body,
        request_id: request_id(request),
    })
}

fn pairs(
    map: &lambda_http::aws_lambda_events::query_map::QueryMap,
) -> std::collections::BTreeMap<String, String> {
    map.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The gateway's id of a request.
pub fn request_id(request: &lambda_http::Request) -> String {
    match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV1(context)) => context.request_id.clone().unwrap_or_default(),
        _ => String::new(),
    }
}

/// The answer to a request that could not be read.
pub fn unreadable(refusal: Refusal, request_id: &str) -> Response {
    crate::refused(&ApiError::Refusal(refusal), request_id)
}

/// Writes an answer. Nothing in between may keep it: it can hold an external id, or credentials.
///
/// # Errors
/// Never for a status that [`ErrorCode`] knows.
pub fn response(response: &Response) -> Result<lambda_http::Response<Body>, lambda_http::http::Error> {
    let retry_after = response.body.get("retry_after_seconds").and_then(|seconds| seconds.as_u64());
    let mut builder = lambda_http::Response::builder()
        .status(response.status)
        .header("content-type", "application/json")
        .header("cache-control", "no-store");
    if let Some(seconds) = retry_after {
        builder = builder.header("retry-after", seconds);
    }
    builder.body(Body::Text(response.body.to_string()))
}
