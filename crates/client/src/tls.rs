//! Encryption on the way to an engine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use errdefs::{Error, Result, ResultExt as _};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

/// PEM files that say whom to trust and who is asking. Nothing of it is no encryption.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Authorities for the engine's certificate; without one those of this machine.
    pub ca: Option<PathBuf>,
    /// The client's own certificate, and its key.
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// Where the certificate of the engine is for another name than its address.
    pub server_name: Option<String>,
}

impl Tls {
    /// The files of a folder under their usual names.
    pub fn in_folder(dir: &Path) -> Result<Self> {
        let one_of = |names: [&str; 2]| {
            let found = names.iter().map(|name| dir.join(name)).find(|path| path.exists());
            let missing = || format!("`{}` holds neither `{}` nor `{}`", dir.display(), names[0], names[1]);
            found.map(Some).ok_or_else(|| Error::user(missing()))
        };
        Ok(Tls {
            ca: one_of(["ca.pem", "ca.crt"])?,
            cert: one_of(["cert.pem", "tls.crt"])?,
            key: one_of(["key.pem", "tls.key"])?,
            server_name: None,
        })
    }

    /// Whether the connection is to be encrypted.
    pub fn is_wanted(&self) -> bool {
        self.ca.is_some() || self.cert.is_some() || self.key.is_some()
    }

    pub(crate) fn config(&self) -> Result<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::internal(e.to_string()))?
            .with_root_certificates(self.roots()?);
        let mut config = match (&self.cert, &self.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(cert), Some(key)) => {
                let failed = || format!("failed to read the key `{}`", key.display());
                let key = PrivateKeyDer::from_pem_file(key).map_err(broken).with_context(failed)?;
                let config = builder.with_client_auth_cert(certificates(cert)?, key);
                config.map_err(|e| Error::user(format!("certificate and key do not fit: {e}")))?
            }
            (Some(_), None) => return Err(Error::user("a client certificate without its key")),
            (None, Some(_)) => return Err(Error::user("a client key without its certificate")),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    /// The name that the engine's certificate is to show.
    pub(crate) fn name(&self, host: &str) -> Result<ServerName<'static>> {
        let name = self.server_name.clone().unwrap_or_else(|| host.to_owned());
        ServerName::try_from(name.clone()).map_err(|_| Error::user(format!("`{name}` is no name of a host")))
    }

    fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(ca) => {
                for certificate in certificates(ca)? {
                    let added = roots.add(certificate).map_err(|e| Error::user(e.to_string()));
                    added.with_context(|| format!("failed to read certificates of `{}`", ca.display()))?;
                }
            }
            None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
        }
        Ok(roots)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    read().map_err(broken).with_context(|| format!("failed to read certificates of `{}`", path.display()))
}

fn broken(e: rustls::pki_types::pem::Error) -> Error {
    match e {
        rustls::pki_types::pem::Error::Io(e) => Error::from(e),
        e => Error::user(e.to_string()),
    }
}
