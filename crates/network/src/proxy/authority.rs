//! Certificates for whatever host a step asks for, by an authority that nobody else knows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use errdefs::{Error, Result, ResultExt as _};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// No step runs longer.
const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);
/// Clocks are not that far apart.
const EARLIER: Duration = Duration::from_secs(3600);
/// Hosts whose certificates are remembered: a step that asks for more has some of them made again.
const KNOWN: usize = 256;
/// The longest name that a subject can have.
const LONGEST_NAME: usize = 64;

/// An authority. Its key is in memory only, and gone with it.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    known: Mutex<HashMap<String, Arc<ServerConfig>>>,
}

impl Authority {
    pub fn new() -> Result<Self> {
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = valid_now(Vec::new())?;
        params.distinguished_name = named("Kiln step proxy");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key).map_err(failed)?.pem();
        Ok(Authority { issuer: Issuer::new(params, key), certificate, known: Mutex::default() })
    }

    /// Its own certificate, in PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// What a server says that is the host, a name or an address.
    pub fn server(&self, host: &str) -> Result<Arc<ServerConfig>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = known.get(host) {
            return Ok(Arc::clone(server));
        }
        let server = self.make(host).with_context(|| format!("failed to make a certificate for `{host}`"))?;
        if known.len() >= KNOWN {
            known.clear();
        }
        known.insert(host.to_owned(), Arc::clone(&server));
        Ok(server)
    }

    fn make(&self, host: &str) -> Result<Arc<ServerConfig>> {
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = valid_now(vec![host.to_owned()])?;
        params.distinguished_name =
            if host.len() <= LONGEST_NAME { named(host) } else { DistinguishedName::new() };
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key)
            })
            .map_err(failed)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn valid_now(hosts: Vec<String>) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(hosts).map_err(failed)?;
    let now = SystemTime::now();
    params.not_before = (now - EARLIER).into();
    params.not_after = (now + LIFETIME).into();
    Ok(params)
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn failed(e: impl std::fmt::Display) -> Error {
    Error::internal(e.to_string())
}
