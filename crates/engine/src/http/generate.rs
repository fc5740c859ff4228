//! How does a generation request become sequences for the model, and their tokens one answer?

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};

use super::body::Body;
use super::plan::plan;
use super::reply::Failure;
use super::shell::{Shell, Track};
use super::whole::whole;
use super::{route, stream};

/// The two ways to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Completion,
    Chat,
}

impl Style {
    pub(crate) fn id_prefix(self) -> &'static str {
        match self {
            Self::Completion => "cmpl",
            Self::Chat => "chatcmpl",
        }
    }
}

/// What surrounds one request.
pub(crate) struct Context {
    pub(crate) shell: Arc<Shell>,
    pub(crate) headers: HeaderMap,
    pub(crate) path: &'static str,
    /// A fault ends the answer with `abort` after so many chunks.
    pub(crate) abort_after: Option<u32>,
}

impl Context {
    /// The client's `x-request-id`.
    pub(crate) fn request_id(&self) -> Option<&str> {
        self.headers
            .get("x-request-id")
            .and_then(|value| value.to_str().ok())
            .filter(|id| !id.is_empty())
    }
}

/// Answers a generation request.
pub(crate) async fn generate(
    context: Context,
    style: Style,
    body: Bytes,
) -> Result<Response<Body>, Failure> {
    let understood = route::off_thread(body.len(), move || {
        let plan = plan(&context, style, &body)?;
        Ok((context, plan))
    });
    let (context, mut plan) = understood.await?;
    let shell = Arc::clone(&context.shell);
    let requests = std::mem::take(&mut plan.requests);
    let prompt_tokens = plan.prompts.iter().map(|prompt| prompt.len()).sum();
    let number = shell.seen.add(
        &plan.id,
        context.request_id(),
        context.path,
        prompt_tokens,
        shell.clock.now(),
    );
    let track = Track {
        shell: Arc::clone(&shell),
        number,
    };
    let ticket = shell.core.submit(requests, plan.n).await?;
    if plan.stream {
        return Ok(stream::response(plan, ticket, track, context.abort_after));
    }
    let mut response = whole(plan, ticket, track, context.abort_after.is_some()).await?;
    route::add_orca(&shell, &context.headers, &mut response);
    Ok(response)
}

/// Silence after which a stream gets a comment; `None`: never.
pub(crate) fn keep_alive(shell: &Shell) -> Option<Duration> {
    let seconds = shell.settings.args.sse_keep_alive_interval;
    (seconds > 0.0).then(|| Duration::from_secs_f64(seconds))
}
