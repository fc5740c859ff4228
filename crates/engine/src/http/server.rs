//! How does an engine start, listen, drain and stop?

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection;
use super::shell::Shell;
use crate::args::EngineArgs;
use crate::core::FLUSH;
use crate::fault::Kind;
use crate::log::Log;
use crate::settings::Settings;

/// Time between the lines that report throughput.
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// Time between looks at whether a drain is over.
const DRAIN_LOOK: Duration = Duration::from_millis(20);
/// Pause after the system refused to accept, out of descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running engine without a socket: connections are handed to it. Works under paused time.
#[derive(Debug, Clone)]
pub struct Engine {
    shell: Arc<Shell>,
    connections: TaskTracker,
    /// Connections close once their requests are answered.
    stop: CancellationToken,
}

impl Engine {
    /// Starts the model's task; must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The settings cannot be used; the message says which and why.
    pub fn start(args: EngineArgs, log: Log) -> anyhow::Result<Self> {
        let shell = Shell::start(Settings::resolve(args)?, log)?;
        let engine = Self {
            shell,
            connections: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        tokio::spawn(report(Arc::clone(&engine.shell), engine.stop.clone()));
        Ok(engine)
    }

    /// Serves one connection (a socket, one end of a `tokio::io::duplex`) until it ends.
    pub async fn serve_connection<IO>(&self, io: IO, peer: SocketAddr)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        connection::serve(Arc::clone(&self.shell), io, peer, self.stop.clone()).await;
    }

    /// Ends as SIGTERM ends it: within `--shutdown-timeout` running requests may finish while new ones get
    /// 500; what is left then is ended with `finish_reason: "abort"`.
    pub async fn shut_down(&self) {
        self.drain().await;
        self.close().await;
    }

    async fn drain(&self) {
        let timeout = self.shell.settings.args.shutdown_timeout();
        if timeout.is_zero() {
            return;
        }
        self.shell.draining.store(true, Ordering::Relaxed);
        let until = tokio::time::Instant::now() + timeout;
        while self.shell.live_requests() > 0 && tokio::time::Instant::now() < until {
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    }

    async fn close(&self) {
        self.shell.draining.store(true, Ordering::Relaxed);
        self.shell.core.abort_all();
        self.stop.cancel();
        self.connections.close();
        // A reader that does not read, or a request held by a fault, does not keep the process.
        let _ = tokio::time::timeout(FLUSH, self.connections.wait()).await;
    }

    fn spawn_connection(&self, socket: TcpStream, peer: SocketAddr) {
        let engine = self.clone();
        self.connections
            .spawn(async move { engine.serve_connection(socket, peer).await });
    }
}

/// An engine and the socket it listens on.
#[derive(Debug)]
pub struct Server {
    engine: Engine,
    listener: TcpListener,
    local_addr: SocketAddr,
}

impl Server {
    /// Starts an engine and listens on `--host` and `--port`.
    ///
    /// # Errors
    /// As [`Engine::start`], or the address cannot be listened on.
    pub async fn bind(args: EngineArgs, log: Log) -> anyhow::Result<Self> {
        let (host, port) = (args.host.clone(), args.port);
        let engine = Engine::start(args, log)?;
        let listener = TcpListener::bind((host.as_str(), port))
            .await
            .with_context(|| format!("cannot listen on {host}:{port}"))?;
        let local_addr = listener.local_addr()?;
        Ok(Self {
            engine,
            listener,
            local_addr,
        })
    }

    /// Where it listens; the real port where 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The engine behind the socket.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Serves until `shutdown` is ready, then drains and closes.
    ///
    /// # Errors
    /// The socket had to be opened again, after a fault closed it, and could not.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        let Self {
            engine,
            listener,
            local_addr,
        } = self;
        let mut accepting = Box::pin(accept(&engine, listener, local_addr));
        tokio::select! {
            failed = &mut accepting => return failed,
            () = shutdown => {}
        }
        // The listener stays open while running requests finish: health is asked for meanwhile.
        tokio::select! {
            failed = &mut accepting => return failed,
            () = engine.drain() => {}
        }
        drop(accepting);
        engine.close().await;
        Ok(())
    }
}

/// Accepts until dropped. A `refuse` fault closes the socket for as long as it is in force.
async fn accept(
    engine: &Engine,
    listener: TcpListener,
    local_addr: SocketAddr,
) -> anyhow::Result<()> {
    let faults = &engine.shell.faults;
    let mut changes = faults.changes();
    let mut listener = Some(listener);
    loop {
        if faults.in_force(Kind::Refuse, engine.shell.clock.now()) {
            listener = None;
            let ends = faults
                .ends_at(Kind::Refuse)
                .map(|at| engine.shell.clock.instant(at));
            tokio::select! {
                _ = changes.changed() => {}
                () = until(ends) => {}
            }
            continue;
        }
        let open = match listener.take() {
            Some(open) => open,
            None => TcpListener::bind(local_addr)
                .await
                .with_context(|| format!("cannot listen on {local_addr} again"))?,
        };
        tokio::select! {
            accepted = open.accept() => match accepted {
                Ok((socket, peer)) => take(engine, socket, peer),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            _ = changes.changed() => {}
        }
        listener = Some(open);
    }
}

fn take(engine: &Engine, socket: TcpStream, peer: SocketAddr) {
    if engine.shell.faults.resets(engine.shell.clock.now()) {
        // Closing with nothing lingering sends RST.
        let _ = socket.set_zero_linger();
        return;
    }
    let _ = socket.set_nodelay(true);
    engine.spawn_connection(socket, peer);
}

async fn until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Logs throughput, queue and cache every ten seconds in which something happened, and once after.
async fn report(shell: Arc<Shell>, stop: CancellationToken) {
    let mut before = (0, 0);
    let mut was_busy = false;
    loop {
        tokio::select! {
            () = tokio::time::sleep(REPORT_EVERY) => {}
            () = stop.cancelled() => return,
        }
        let line = {
            let stats = shell.core.stats.lock();
            let counters = stats.snapshot.counters;
            let now = (counters.prompt_tokens, counters.generation_tokens);
            let busy = now != before || stats.snapshot.running + stats.snapshot.waiting > 0;
            let per_second =
                |now: u64, before: u64| (now - before) as f64 / REPORT_EVERY.as_secs_f64();
            let line = (busy || was_busy).then(|| {
                format!(
                    "INFO:     Engine 000 (simulated {}): Avg prompt throughput: {:.1} tokens/s, Avg generation throughput: \
                     {:.1} tokens/s, Running: {} reqs, Waiting: {} reqs, GPU KV cache usage: {:.1}%, Prefix cache hit rate: {:.1}%",
                    shell.settings.profile.name,
                    per_second(now.0, before.0),
                    per_second(now.1, before.1),
                    stats.snapshot.running,
                    stats.snapshot.waiting,
                    stats.snapshot.kv_cache_usage * 100.0,
                    stats.hit_rate_percent(),
                )
            });
            (before, was_busy) = (now, busy);
            line
        };
        if let Some(line) = line {
            shell.log.line(line);
        }
    }
}
