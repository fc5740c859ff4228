//! Whom do we trust behind an `https` endpoint?

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::{PoolError, TlsConfig};

/// A certificate chain and its key.
type ClientPair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl TlsConfig {
    /// What a TLS client of this pool is set up with; no ALPN protocol is offered.
    ///
    /// # Errors
    /// [`PoolError::Tls`] naming the file that cannot be read or the pair that does not fit.
    pub fn client_config(&self) -> Result<ClientConfig, PoolError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(tls)?;
        let verified = if self.insecure_skip_verify {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        match self.client_pair()? {
            Some((chain, key)) => verified.with_client_auth_cert(chain, key).map_err(tls),
            None => Ok(verified.with_no_client_auth()),
        }
    }

    fn roots(&self) -> Result<RootCertStore, PoolError> {
        let mut roots = RootCertStore::empty();
        match &self.ca_file {
            Some(path) => {
                for certificate in certificates(path)? {
                    roots
                        .add(certificate)
                        .map_err(|error| file_error(path, &error))?;
                }
            }
            // A broken certificate in the system's store is not ours to refuse work over.
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        Ok(roots)
    }

    fn client_pair(&self) -> Result<Option<ClientPair>, PoolError> {
        let (cert, key) = match (&self.client_cert_file, &self.client_key_file) {
            (None, None) => return Ok(None),
            (Some(cert), Some(key)) => (cert, key),
            _ => {
                return Err(PoolError::Tls(
                    "`client_cert_file` and `client_key_file` go together".to_owned(),
                ));
            }
        };
        let chain = certificates(cert)?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| file_error(key, &error))?;
        Ok(Some((chain, key)))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PoolError> {
    let read = CertificateDer::pem_file_iter(path)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
        .map_err(|error| file_error(path, &error))?;
    if read.is_empty() {
        return Err(file_error(path, &"holds no certificate"));
    }
    Ok(read)
}

fn file_error(path: &Path, error: &dyn std::fmt::Display) -> PoolError {
    PoolError::Tls(format!("{}: {error}", path.display()))
}

fn tls(error: rustls::Error) -> PoolError {
    PoolError::Tls(error.to_string())
}

/// Takes any certificate, but still checks that the peer holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
