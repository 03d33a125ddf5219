//! Encryption of what comes over TCP, and whom it lets in.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use errdefs::{Error, Result, ResultExt as _};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde::Deserialize;
use tokio_rustls::TlsAcceptor;

/// PEM files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Tls {
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// Where there is one, clients have to show a certificate of it.
    pub ca: Option<PathBuf>,
}

impl Tls {
    /// Reads the files; nothing where none is named.
    pub fn acceptor(&self) -> Result<Option<TlsAcceptor>> {
        let (cert, key) = match (&self.cert, &self.key, &self.ca) {
            (None, None, None) => return Ok(None),
            (Some(cert), Some(key), _) => (cert, key),
            // What is meant to keep others out must not be passed over.
            (None, None, Some(_)) => {
                return Err(Error::user("a certificate authority without certificate and key")
                    .hint("give `--tlscert` and `--tlskey` too"));
            }
            _ => return Err(Error::user("you must specify key and cert file if one is specified")),
        };
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::internal(e.to_string()))?;
        let builder = match &self.ca {
            None => builder.with_no_client_auth(),
            Some(ca) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(ca)? {
                    roots.add(certificate).map_err(|e| Error::user(format!("`{}`: {e}", ca.display())))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                let unfit = |e| Error::user(format!("failed to use `{}`: {e}", ca.display()));
                builder.with_client_cert_verifier(verifier.map_err(unfit)?)
            }
        };
        let failed = || format!("failed to read the key `{}`", key.display());
        let key = PrivateKeyDer::from_pem_file(key).map_err(broken).with_context(failed)?;
        let config = builder.with_single_cert(certificates(cert)?, key);
        let mut config = config.map_err(|e| Error::user(format!("could not load server key pair: {e}")))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Some(TlsAcceptor::from(Arc::new(config))))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    let failed = || format!("failed to read certificates of `{}`", path.display());
    let all = read().map_err(broken).with_context(failed)?;
    match all.is_empty() {
        true => Err(Error::user(format!("`{}` holds no certificate", path.display()))),
        false => Ok(all),
    }
}

fn broken(e: rustls::pki_types::pem::Error) -> Error {
    match e {
        rustls::pki_types::pem::Error::Io(e) => Error::from(e),
        e => Error::user(e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_refused() {
        let check = |cert: &str, key: &str, ca: &str, expect: &str| {
            let file = |name: &str| Some(PathBuf::from(name)).filter(|_| !name.is_empty());
            let tls = Tls { cert: file(cert), key: file(key), ca: file(ca) };
            let told = match tls.acceptor() {
                Ok(acceptor) => format!("{}", acceptor.is_some()),
                Err(e) => e.to_string(),
            };
            assert!(told.starts_with(expect), "{cert} {key} {ca}: {told}");
        };
        check("", "", "", "false");
        check("", "", "/nope", "a certificate authority without certificate and key");
        check("/nope", "", "", "you must specify key and cert file if one is specified");
        check("", "/nope", "/nope", "you must specify key and cert file if one is specified");
        check("/nope", "/nope", "", "failed to read the key `/nope`: No such file");
    }
}
