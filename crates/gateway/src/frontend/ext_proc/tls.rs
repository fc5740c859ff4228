//! Which certificate is shown to a data plane?
//!
//! Data planes of the field do not check a picker's certificate, only that there is one: without files, one is made
//! at start and held in memory. Files are read again when they change; unreadable ones leave the old certificate in
//! force.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How often certificate files are looked at.
const RELOAD_EVERY: Duration = Duration::from_secs(1);

/// How TLS is spoken.
#[derive(Clone, Debug, Default)]
pub struct TlsSettings {
    /// Folder with `tls.crt` and `tls.key`; without one, a certificate is made.
    pub folder: Option<PathBuf>,
    /// `VersionTLS12` or `VersionTLS13`; TLS 1.2 when absent.
    pub min_version: Option<String>,
    /// Names of the suites to use, as IANA lists them; all when empty.
    pub cipher_suites: Vec<String>,
}

/// The certificate in force.
#[derive(Clone)]
pub struct Certificates {
    shown: Arc<Shown>,
    config: Arc<ServerConfig>,
    folder: Option<PathBuf>,
}

#[derive(Debug)]
struct Shown(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Certificates {
    /// Reads or makes the certificate.
    ///
    /// # Errors
    /// Files that cannot be read or do not belong together, unknown versions or suites.
    pub fn new(settings: &TlsSettings) -> Result<Self, String> {
        let provider = provider(&settings.cipher_suites)?;
        let key = match &settings.folder {
            Some(folder) => read(folder, &provider)?,
            None => made(&provider)?,
        };
        let shown = Arc::new(Shown(ArcSwap::from_pointee(key)));
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(&shown) as _;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions(settings.min_version.as_deref())?)
            .map_err(|error| format!("TLS versions and cipher suites do not fit: {error}"))?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self {
            shown,
            config: Arc::new(config),
            folder: settings.folder.clone(),
        })
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }

    /// Reads the files again whenever they change, until `stop`; returns at once where there are none.
    pub async fn reload(self, stop: CancellationToken) {
        let Some(folder) = &self.folder else { return };
        let mut known = stamp(folder);
        let mut ticks = tokio::time::interval(RELOAD_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let now = stamp(folder);
            if now == known {
                continue;
            }
            match read(folder, self.config.crypto_provider()) {
                Ok(key) => {
                    self.shown.0.store(Arc::new(key));
                    known = now;
                    tracing::info!(folder = %folder.display(), "certificate read again");
                }
                Err(error) => {
                    // A pair is often half written; what is in force stays until both fit.
                    tracing::warn!(%error, "the new certificate is not used; the old one stays");
                    known = now;
                }
            }
        }
    }
}

/// Contents of both files; `None` for one that cannot be read.
fn stamp(folder: &Path) -> [Option<Vec<u8>>; 2] {
    ["tls.crt", "tls.key"].map(|name| std::fs::read(folder.join(name)).ok())
}

fn read(folder: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, String> {
    let (chain, key) = (folder.join("tls.crt"), folder.join("tls.key"));
    let told = |path: &Path, error: &dyn std::fmt::Display| {
        format!("cannot read {}: {error}", path.display())
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(&chain)
        .and_then(Iterator::collect)
        .map_err(|error| told(&chain, &error))?;
    let private = PrivateKeyDer::from_pem_file(&key).map_err(|error| told(&key, &error))?;
    CertifiedKey::from_der(chain, private, provider)
        .map_err(|error| format!("{} does not fit tls.crt: {error}", key.display()))
}

fn made(provider: &CryptoProvider) -> Result<CertifiedKey, String> {
    let told = |error: &dyn std::fmt::Display| format!("cannot make a certificate: {error}");
    let mut params = rcgen::CertificateParams::default();
    params
        .distinguished_name
        .push(rcgen::DnType::OrganizationName, "Inference Ext");
    params.not_before = rcgen::date_time_ymd(2024, 1, 1);
    params.not_after = rcgen::date_time_ymd(2036, 1, 1);
    let key = rcgen::KeyPair::generate().map_err(|error| told(&error))?;
    let certificate = params.self_signed(&key).map_err(|error| told(&error))?;
    let private = PrivateKeyDer::try_from(key.serialize_der()).map_err(|error| told(&error))?;
    CertifiedKey::from_der(vec![certificate.der().clone()], private, provider)
        .map_err(|error| told(&error))
}

fn versions(least: Option<&str>) -> Result<&'static [&'static SupportedProtocolVersion], String> {
    static BOTH: [&SupportedProtocolVersion; 2] =
        [&rustls::version::TLS12, &rustls::version::TLS13];
    match least {
        None | Some("" | "VersionTLS12") => Ok(&BOTH),
        Some("VersionTLS13") => Ok(&BOTH[1..]),
        Some(other) => Err(format!(
            "`{other}` is no TLS version that is spoken here: VersionTLS12 or VersionTLS13"
        )),
    }
}

/// All suites, or those named.
fn provider(names: &[String]) -> Result<Arc<CryptoProvider>, String> {
    let mut provider = ring::default_provider();
    if names.is_empty() {
        return Ok(Arc::new(provider));
    }
    let known: Vec<String> = provider
        .cipher_suites
        .iter()
        .filter_map(|suite| suite.suite().as_str().map(iana))
        .collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        return Err(format!(
            "`{unknown}` is no cipher suite that is spoken here; there are {}",
            known.join(", ")
        ));
    }
    provider.cipher_suites.retain(|suite| {
        suite
            .suite()
            .as_str()
            .is_some_and(|name| names.contains(&iana(name)))
    });
    Ok(Arc::new(provider))
}

/// The library writes TLS 1.3 suites with a prefix of its own.
fn iana(name: &str) -> String {
    name.replace("TLS13_", "TLS_")
}
