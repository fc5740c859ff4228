//! How do the messages of one stream meet its state?

use std::pin::Pin;
use std::sync::Arc;

use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_server::ExternalProcessor;
use envoy_types::pb::envoy::service::ext_proc::v3::{ProcessingRequest, ProcessingResponse};
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Request, Response, Status, Streaming};

use super::exchange::Exchange;
use super::picker::Picker;
use crate::gateway::Gateway;

/// The gRPC service.
pub(super) struct Process {
    pub(super) gateway: Arc<Gateway>,
    pub(super) picker: Arc<Picker>,
    /// Set when streams that can do without us are to end.
    pub(super) leaving: CancellationToken,
}

/// One stream: messages in, state, messages out.
struct Session {
    heard: Streaming<ProcessingRequest>,
    exchange: Exchange,
    /// Kept over all messages, so that waiting for the next one registers nothing anew.
    leaving: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Session {
    /// What is said next; `None` ends the stream.
    async fn next(&mut self) -> Option<ProcessingResponse> {
        loop {
            if let Some(said) = self.exchange.say.pop_front() {
                return Some(said);
            }
            if self.exchange.closing {
                return None;
            }
            let may_leave = self.exchange.is_past_request();
            let heard = tokio::select! {
                biased;
                heard = self.heard.message() => heard,
                // The data plane goes on with the response without us.
                () = self.leaving.as_mut(), if may_leave => return None,
            };
            match heard {
                Ok(Some(message)) => self.exchange.hear(message).await,
                // However it ended, what is held is given back as this is dropped.
                Ok(None) => return None,
                Err(status) => {
                    tracing::trace!(%status, "stream of the data plane ended");
                    return None;
                }
            }
        }
    }
}

#[tonic::async_trait]
impl ExternalProcessor for Process {
    type ProcessStream = BoxStream<'static, Result<ProcessingResponse, Status>>;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Self::ProcessStream>, Status> {
        let session = Session {
            heard: request.into_inner(),
            exchange: Exchange::new(Arc::clone(&self.gateway), Arc::clone(&self.picker)),
            leaving: Box::pin(self.leaving.clone().cancelled_owned()),
        };
        let said = stream::unfold(session, |mut session| async move {
            let said = session.next().await?;
            Some((Ok(said), session))
        });
        Ok(Response::new(said.boxed()))
    }
}
