//! Whom to trust.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use errdefs::{Error, Result, ResultExt as _};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::config::{HostConfig, KeyPair};

/// How a server's certificate is checked, and what is shown to it. Connections are shared among equal ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Tls {
    insecure: bool,
    ca: Vec<PathBuf>,
    keys: Vec<KeyPair>,
}

impl Tls {
    pub fn of(host: &HostConfig, insecure: bool) -> Self {
        Tls { insecure: host.insecure || insecure, ca: host.ca.clone(), keys: host.keys.clone() }
    }

    /// For clients of whatever protocol. Reads the files that are named.
    pub fn client_config(&self) -> Result<ClientConfig> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::internal(e.to_string()))?;
        let builder = match self.insecure {
            true => builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyServer::new(&provider))),
            false => builder.with_root_certificates(self.roots()?),
        };
        // Only one HTTP version is offered: a connection for each transfer is faster than one for all.
        match self.keys.first() {
            None => Ok(builder.with_no_client_auth()),
            Some(pair) => {
                let failed = || format!("failed to load keypair `{}`", pair.cert.display());
                let key = PrivateKeyDer::from_pem_file(&pair.key).map_err(broken).with_context(failed)?;
                let config = builder.with_client_auth_cert(certificates(&pair.cert)?, key);
                config.map_err(|e| Error::user(e.to_string())).with_context(failed)
            }
        }
    }

    fn roots(&self) -> Result<RootCertStore> {
        static SYSTEM: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();
        let system = SYSTEM.get_or_init(|| {
            let found = rustls_native_certs::load_native_certs();
            for e in found.errors {
                tracing::debug!("a root certificate cannot be read: {e}");
            }
            found.certs
        });
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(system.iter().cloned());
        for path in &self.ca {
            roots.add_parsable_certificates(certificates(path)?);
        }
        Ok(roots)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    read().map_err(broken).with_context(|| format!("failed to read `{}`", path.display()))
}

fn broken(e: rustls::pki_types::pem::Error) -> Error {
    Error::environment(e.to_string())
}

/// Takes whatever certificate is shown. The handshake's signatures are still checked.
#[derive(Debug)]
struct AnyServer(WebPkiSupportedAlgorithms);

impl AnyServer {
    fn new(provider: &CryptoProvider) -> Self {
        AnyServer(provider.signature_verification_algorithms)
    }
}

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
