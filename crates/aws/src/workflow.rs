//! Session workflows on Step Functions.

use aws_sdk_sfn::{Client, operation::start_execution::StartExecutionError};
use serde_json::json;
use sorry_session::{
    Session,
    ports::{PortError, Workflow},
};

use crate::errors::port_error;

/// Layout of the input, for whoever reads executions. Nothing matches on it: the state machine reads `operation`, `alert_first` and
/// `session_id`, the functions `session_id` alone, and all else from the row.
const INPUT_VERSION: u32 = 1;

/// The state machine of sessions.
#[derive(Clone, Debug)]
pub struct StepFunctionsWorkflow {
    client: Client,
    state_machine_arn: String,
}

impl StepFunctionsWorkflow {
    /// The state machine of that ARN.
    pub fn new(config: &aws_config::SdkConfig, state_machine_arn: String) -> Self {
        Self { client: Client::new(config), state_machine_arn }
    }

    async fn start(&self, name: String, session: &Session, operation: &str) -> Result<(), PortError> {
        let input = json!({
            "version": INPUT_VERSION,
            "session_id": session.session_id,
            "operation": operation,
            "expires_at": session.expires_at,
            "alert_first": session.alert,
        });
        let call = self
            .client
            .start_execution()
            .state_machine_arn(&self.state_machine_arn)
            .name(name)
            .input(input.to_string());
        match call.send().await {
            Ok(_) => Ok(()),
            // The name is the session's, or that of one of its ends: whoever started it did so for the same reason.
            Err(error)
                if matches!(
                    error.as_service_error(),
                    Some(StartExecutionError::ExecutionAlreadyExists(_))
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(port_error("StartExecution", &error)),
        }
    }
}

impl Workflow for StepFunctionsWorkflow {
    async fn start_grant(&self, session: &Session) -> Result<(), PortError> {
        self.start(session.session_id.to_string(), session, "grant").await
    }

    async fn start_extension(&self, session: &Session) -> Result<(), PortError> {
        self.start(format!("{}-extend-{}", session.session_id, session.fence), session, "extend").await
    }

    async fn start_end(&self, session: &Session) -> Result<(), PortError> {
        self.start(format!("{}-end-{}", session.session_id, session.fence), session, "end").await
    }
}
