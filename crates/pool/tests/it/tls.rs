//! Is an `https` endpoint reached, and only a trusted one?

use std::path::PathBuf;
use std::sync::Arc;

use fleet::Health;
use pool::{PoolConfig, TlsConfig};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::{Engine, config, start, try_start, wait_until};

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/data")
        .join(name)
}

async fn engine() -> Engine {
    let certificate = CertificateDer::from_pem_file(data("engine-cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(data("engine-key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    Engine::start_at("127.0.0.1:0".parse().unwrap(), Some(acceptor)).await
}

fn https(engine: &Engine, tls: TlsConfig) -> PoolConfig {
    PoolConfig {
        tls,
        ..config(&[format!("https://{}", engine.address)])
    }
}

#[tokio::test]
async fn trusted_by_authority_or_by_wish() {
    let engine = engine().await;
    for tls in [
        TlsConfig {
            ca_file: Some(data("engine-cert.pem")),
            ..TlsConfig::default()
        },
        TlsConfig {
            ca_file: Some(data("engine-cert.pem")),
            server_name: Some("localhost".to_owned()),
            ..TlsConfig::default()
        },
        TlsConfig {
            insecure_skip_verify: true,
            ..TlsConfig::default()
        },
    ] {
        let running = start(&https(&engine, tls)).await;
        wait_until("ready", || running.is_ready(&engine)).await;
    }
}

#[tokio::test]
async fn an_unknown_authority_is_the_reason() {
    let engine = engine().await;
    let running = start(&https(&engine, TlsConfig::default())).await;
    let name = engine.address.to_string();
    wait_until("refused to trust", || {
        let health = running.health(&name);
        let reason = health.as_ref().and_then(Health::reason);
        reason.is_some_and(|reason| reason.contains("certificate"))
    })
    .await;
}

#[tokio::test]
async fn unusable_files_are_an_error_at_start() {
    let engine = engine().await;
    let default = TlsConfig::default;
    for (tls, piece) in [
        (
            TlsConfig {
                ca_file: Some(data("nothing.pem")),
                ..default()
            },
            "nothing.pem",
        ),
        (
            TlsConfig {
                ca_file: Some(data("engine-key.pem")),
                ..default()
            },
            "holds no certificate",
        ),
        (
            TlsConfig {
                client_cert_file: Some(data("engine-cert.pem")),
                ..default()
            },
            "go together",
        ),
    ] {
        let error = try_start(&https(&engine, tls), None).await.err().unwrap();
        assert!(error.to_string().contains(piece), "{error}");
    }
}

#[tokio::test]
async fn a_certificate_of_our_own_is_loaded() {
    let engine = engine().await;
    let tls = TlsConfig {
        ca_file: Some(data("engine-cert.pem")),
        client_cert_file: Some(data("engine-cert.pem")),
        client_key_file: Some(data("engine-key.pem")),
        ..TlsConfig::default()
    };
    let running = start(&https(&engine, tls)).await;
    wait_until("ready", || running.is_ready(&engine)).await;
}
