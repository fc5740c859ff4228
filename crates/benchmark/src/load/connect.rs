//! Where does a connection come from: a kept-alive one or a fresh one?

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::error::{ClientError, root_cause};
use super::target::Target;

pub(crate) type Sender = http1::SendRequest<Full<Bytes>>;

/// Idle connections kept at most.
const MAX_IDLE: usize = 1024;

/// One connection on loan; give it back with [`Connections::put`] once its response was read to the end.
pub(crate) struct Lease {
    pub(crate) sender: Sender,
    /// It carried a request before, so the server may have closed it meanwhile.
    pub(crate) reused: bool,
}

/// Kept-alive connections to one target.
pub(crate) struct Connections {
    target: Target,
    tls: Option<TlsConnector>,
    timeout: Duration,
    idle: Mutex<Vec<Sender>>,
}

impl Connections {
    pub(crate) fn new(target: Target, timeout: Duration) -> Result<Self, ClientError> {
        let tls = if target.tls {
            Some(connector(&target)?)
        } else {
            None
        };
        Ok(Self {
            target,
            tls,
            timeout,
            idle: Mutex::new(Vec::new()),
        })
    }

    /// The most recently used idle connection that is still open, else a fresh one.
    pub(crate) async fn take(&self) -> Result<Lease, ClientError> {
        while let Some(mut sender) = self.pop() {
            if sender.ready().await.is_ok() {
                return Ok(Lease {
                    sender,
                    reused: true,
                });
            }
        }
        self.fresh().await
    }

    /// A new connection.
    pub(crate) async fn fresh(&self) -> Result<Lease, ClientError> {
        let after = self.timeout;
        let sender = tokio::time::timeout(after, self.dial())
            .await
            .map_err(|_| ClientError::Connect {
                url: self.target.to_string(),
                why: format!("no answer within {after:?}"),
            })??;
        Ok(Lease {
            sender,
            reused: false,
        })
    }

    pub(crate) fn put(&self, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !sender.is_closed() && idle.len() < MAX_IDLE {
            idle.push(sender);
        }
    }

    fn pop(&self) -> Option<Sender> {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
    }

    async fn dial(&self) -> Result<Sender, ClientError> {
        let target = &self.target;
        let refused = |error: std::io::Error| ClientError::Connect {
            url: target.to_string(),
            why: error.to_string(),
        };
        let stream = TcpStream::connect((target.host.as_str(), target.port))
            .await
            .map_err(refused)?;
        stream.set_nodelay(true).map_err(refused)?;
        let Some(tls) = &self.tls else {
            return self.handshake(stream).await;
        };
        let tls_error = |why: String| ClientError::Tls {
            url: target.to_string(),
            why,
        };
        let name =
            ServerName::try_from(target.host.clone()).map_err(|e| tls_error(e.to_string()))?;
        let stream = tls
            .connect(name, stream)
            .await
            .map_err(|e| tls_error(root_cause(&e)))?;
        self.handshake(stream).await
    }

    async fn handshake<S>(&self, stream: S) -> Result<Sender, ClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream))
                .await
                .map_err(|error| ClientError::Broken {
                    url: self.target.to_string(),
                    why: root_cause(&error),
                })?;
        // The task ends with the connection, which ends when the sender is dropped or the server closes.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
        Ok(sender)
    }
}

/// TLS by the system's trusted roots.
fn connector(target: &Target) -> Result<TlsConnector, ClientError> {
    let failed = |why: String| ClientError::Tls {
        url: target.to_string(),
        why,
    };
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(failed(
            "this machine has no trusted root certificates".to_owned(),
        ));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
