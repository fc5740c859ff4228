//! Are engines behind TLS reached, and only those whose certificate is good?

use std::net::SocketAddr;
use std::sync::Arc;

use gateway::PoolRoute;
use pool::TlsConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::support::{FakeEngine, Running, config, fleet_over, ok};

/// The name that the engines' certificates are made out to.
const NAME: &str = "engine.test";

/// A self-signed certificate: its chain, its key and its PEM text.
fn certificate() -> (CertificateDer<'static>, PrivateKeyDer<'static>, String) {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    (made.cert.der().clone(), key, made.cert.pem())
}

/// Takes TLS off in front of `engine`.
async fn in_front_of(
    engine: SocketAddr,
    chain: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust us ends the handshake.
                let Ok(mut outside) = acceptor.accept(socket).await else {
                    return;
                };
                let mut inside = TcpStream::connect(engine).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
    address
}

/// What a request gets when the engine shows one certificate and the pool trusts `trusted`, by `name`.
async fn check(trust_it: bool, name: Option<&str>, status: u16, words: &str) {
    let engine = FakeEngine::start(|_| ok()).await;
    let (chain, key, pem) = certificate();
    let address = in_front_of(engine.address, chain, key).await;
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    let trusted = if trust_it { pem } else { certificate().2 };
    std::fs::write(&ca_file, trusted).unwrap();
    let tls = TlsConfig {
        ca_file: Some(ca_file),
        ..TlsConfig::default()
    };
    let models: &[&str] = &["m"];
    let route = PoolRoute {
        tls: Some(Arc::new(tls.client_config().unwrap())),
        tls_server_name: name.map(str::to_owned),
        ..PoolRoute::new(
            "default",
            fleet_over("https", "default", &[(address, Some(models))]),
        )
    };
    let running = Running::start(config(), vec![route]).await;
    let body = r#"{"model":"m","prompt":"hi"}"#;
    let answer = running.post("/v1/completions", body).await;
    assert_eq!(answer.status, status, "{name:?}: {}", answer.text());
    assert!(answer.text().contains(words), "{name:?}: {}", answer.text());
    let reached = usize::from(status == 200);
    assert_eq!(engine.requests().len(), reached, "{name:?}");
}

#[tokio::test]
async fn certificates_are_held_to_authority_and_name() {
    check(true, Some(NAME), 200, "choices").await;
    check(true, Some("another.test"), 502, "certificate").await;
    // The URL's own host, an address that the certificate does not name.
    check(true, None, 502, "certificate").await;
    check(false, Some(NAME), 502, "certificate").await;
}
