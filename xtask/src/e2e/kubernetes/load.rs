//! Does any request fail while replicas come and go?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use anyhow::ensure;
use serde_json::{Value, json};

use super::service::Service;
use crate::playground::Playground;

/// Clients that ask all the time.
const CLIENTS: usize = 4;

/// A short chat about something new each time.
pub(super) fn question(model: &str, number: u64) -> Value {
    json!({
        "model": model,
        "max_tokens": 16,
        "messages": [{"role": "user", "content": format!("Explain replica {number} in one sentence.")}],
    })
}

/// Clients at work; each stops at its first failure.
pub(super) struct Load {
    end: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    clients: Vec<std::thread::JoinHandle<Option<String>>>,
}

impl Load {
    pub(super) fn start(playground: &Playground, service: &Service, model: &str) -> Self {
        let (end, asked) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let clients = (0..CLIENTS).map(|_| {
            let (end, asked) = (Arc::clone(&end), Arc::clone(&asked));
            let (url, model) = (playground.gateway.clone(), model.to_owned());
            let path = service.path("/v1/chat/completions");
            std::thread::spawn(move || {
                while !end.load(Relaxed) {
                    let question = question(&model, asked.fetch_add(1, Relaxed));
                    match crate::http::call(&url, "POST", &path, Some(&question)) {
                        Ok((200, _)) => {}
                        Ok((code, body)) => return Some(format!("{code}: {body}")),
                        Err(error) => return Some(format!("{error:#}")),
                    }
                }
                None
            })
        });
        Self {
            clients: clients.collect(),
            end,
            asked,
        }
    }

    /// How many were asked; none of them failed.
    ///
    /// # Errors
    /// The first failure, or that hardly anything was asked.
    pub(super) fn end(self, during: &str) -> anyhow::Result<u64> {
        self.end.store(true, Relaxed);
        for client in self.clients {
            let failed = client.join().ok().flatten();
            ensure!(
                failed.is_none(),
                "a request failed during {during}: {}",
                failed.unwrap_or_default()
            );
        }
        let asked = self.asked.load(Relaxed);
        ensure!(
            asked > CLIENTS as u64,
            "only {asked} requests were made during {during}"
        );
        Ok(asked)
    }
}
