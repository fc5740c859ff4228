//! Who owns the batch model, and how does an HTTP request reach it?
//!
//! One task ([`run`]) owns the model. Requests go in through a bounded queue; tokens come back through a
//! [`Mailbox`] per HTTP request, where those of several steps wait as one piece, so a slow reader costs the
//! tokens of its own answer and nothing more. Dropping a [`Ticket`] aborts what is left of its request.

mod mailbox;
mod run;

#[cfg(test)]
pub(crate) use mailbox::End;
pub(crate) use mailbox::{Mailbox, Piece};

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::clock::Clock;
use crate::fault::Faults;
use crate::kv_events::KvEvents;
use crate::metrics::Stats;
use crate::model::{BatchModel, FinishReason, Rejected, Request, RequestId};

/// Submissions that may wait for the model's task; more wait at the sender.
const MAX_QUEUED_COMMANDS: usize = 1024;

/// All sequences of one HTTP request.
pub(crate) struct Submission {
    pub(crate) requests: Vec<Request>,
    pub(crate) n: usize,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) reply: oneshot::Sender<Result<Vec<RequestId>, Rejected>>,
}

/// What the model's task is asked for.
pub(crate) enum Command {
    Submit(Submission),
    /// Drop the prefix cache; answers whether it did.
    ResetPrefixCache(oneshot::Sender<bool>),
}

/// The way to the model's task.
#[derive(Debug)]
pub(crate) struct Core {
    commands: mpsc::Sender<Command>,
    endings: Arc<Endings>,
    pub(crate) stats: Arc<Mutex<Stats>>,
}

/// Ends asked for from outside. Bounded by the live requests: each is ended once.
#[derive(Debug, Default)]
pub(crate) struct Endings {
    asked: Mutex<Vec<(RequestId, FinishReason)>>,
    all: Mutex<bool>,
    notify: Notify,
}

/// Why the core did not take a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CoreError {
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The task is gone: the engine has shut down.
    #[error("the engine has stopped")]
    Gone,
}

impl Core {
    /// Starts the model's task. It ends when the `Core` and all tickets are gone.
    pub(crate) fn start(
        model: BatchModel,
        clock: Clock,
        faults: Arc<Faults>,
        kv_events: Option<KvEvents>,
    ) -> Self {
        let (commands, queue) = mpsc::channel(MAX_QUEUED_COMMANDS);
        let stats = Arc::new(Mutex::new(Stats::new(
            model.snapshot(),
            model.config().max_model_len_tokens,
        )));
        let endings = Arc::new(Endings::default());
        let task = run::Run::new(
            model,
            clock,
            faults,
            Arc::clone(&stats),
            Arc::clone(&endings),
            kv_events,
        );
        tokio::spawn(task.run(queue));
        Self {
            commands,
            endings,
            stats,
        }
    }

    /// Hands the sequences of one HTTP request to the model.
    pub(crate) async fn submit(
        &self,
        requests: Vec<Request>,
        n: usize,
    ) -> Result<Ticket, CoreError> {
        let mailbox = Arc::new(Mailbox::new(requests.len()));
        let (reply, answer) = oneshot::channel();
        let submission = Submission {
            requests,
            n,
            mailbox: Arc::clone(&mailbox),
            reply,
        };
        self.commands
            .send(Command::Submit(submission))
            .await
            .map_err(|_| CoreError::Gone)?;
        let ids = answer.await.map_err(|_| CoreError::Gone)??;
        Ok(Ticket {
            ids,
            mailbox,
            endings: Arc::clone(&self.endings),
        })
    }

    /// Drops the prefix cache; false while requests hold blocks of it.
    pub(crate) async fn reset_prefix_cache(&self) -> Result<bool, CoreError> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(Command::ResetPrefixCache(reply))
            .await
            .map_err(|_| CoreError::Gone)?;
        answer.await.map_err(|_| CoreError::Gone)
    }

    /// Ends every request with `abort`.
    pub(crate) fn abort_all(&self) {
        *self.endings.all.lock() = true;
        self.endings.notify.notify_one();
    }
}

/// A request in the model. Dropping it aborts the sequences that are not over.
#[derive(Debug)]
pub(crate) struct Ticket {
    ids: Vec<RequestId>,
    pub(crate) mailbox: Arc<Mailbox>,
    endings: Arc<Endings>,
}

impl Ticket {
    /// Ends one sequence before its time: a stop string was found, or a fault wants it.
    pub(crate) fn end(&self, sequence: usize, reason: FinishReason) {
        self.mailbox.close(sequence);
        self.endings.asked.lock().push((self.ids[sequence], reason));
        self.endings.notify.notify_one();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let open = self.mailbox.close_all();
        if !open.is_empty() {
            self.endings.asked.lock().extend(
                open.into_iter()
                    .map(|sequence| (self.ids[sequence], FinishReason::Abort)),
            );
            self.endings.notify.notify_one();
        }
    }
}

/// How long a stopped engine waits for answers to reach their readers.
pub(crate) const FLUSH: Duration = Duration::from_secs(2);
