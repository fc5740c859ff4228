//! What may an operator ask and do?

mod figures;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub(crate) use figures::collector;

use crate::error::Refusal;
use crate::frontend::{self, Settings};
use crate::gateway::Gateway;

/// Longest time for an operator's request to end after a stop was asked for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves operators until `stop`.
pub(crate) async fn serve(gateway: Arc<Gateway>, listener: TcpListener, stop: CancellationToken) {
    let settings = Settings::of(&gateway);
    let answer = move |_request, _client| {
        let _gateway = Arc::clone(&gateway);
        async move { Refusal::NotFound.respond() }
    };
    frontend::connections(listener, settings, stop, DRAIN_TIMEOUT, answer).await;
}
