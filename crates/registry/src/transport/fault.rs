//! What can be wrong with a connection, told apart.

use std::error::Error as StdError;
use std::io;

use errdefs::{Class, Code, Error};
use http::{Method, Uri};
use rustls::AlertDescription;

use crate::transport::{authority, dns, show};

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    NoSuchHost(String),
    /// The name servers do not help; with the name and their words.
    NoNames(String, String),
    Refused,
    /// The server speaks HTTP where TLS was expected.
    NoTls,
    /// The server's certificate is not to be trusted.
    Certificate(String),
    /// The server does not trust what this client shows of itself, if it shows anything.
    OwnCertificate(String),
    Tls(String),
    Proxy(String),
    Timeout,
    /// The connection broke, or never came about.
    Broken(String),
}

impl Fault {
    pub(super) fn of(e: &hyper_util::client::legacy::Error) -> Self {
        let mut cause: Option<&(dyn StdError + 'static)> = Some(e);
        let mut words = String::new();
        while let Some(e) = cause {
            if let Some(fault) = known(e) {
                return fault;
            }
            words = e.to_string();
            cause = match e.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                Some(inner) => Some(inner),
                None => e.source(),
            };
        }
        Fault::Broken(words)
    }

    /// Whether it may be gone at the next try.
    pub fn may_pass(&self) -> bool {
        matches!(self, Fault::Timeout | Fault::Broken(_))
    }

    /// The error of a request that came to this.
    pub fn of_request(self, method: &Method, uri: &Uri) -> Error {
        let words = match &self {
            Fault::NoSuchHost(name) => format!("dial tcp: lookup {name}: no such host"),
            Fault::NoNames(name, why) => format!("lookup {name}: {why}"),
            Fault::Refused => "connection refused".into(),
            Fault::NoTls => "server gave HTTP response to HTTPS client".into(),
            Fault::Certificate(why) => format!("tls: failed to verify certificate: {why}"),
            Fault::OwnCertificate(why) | Fault::Tls(why) => format!("tls: {why}"),
            Fault::Proxy(why) => format!("proxy: {why}"),
            Fault::Timeout => "timeout awaiting response".into(),
            Fault::Broken(why) => why.clone(),
        };
        let message = format!("failed to do request: {method} `{}`: {words}", show(uri));
        let error = Error::new(Class::Environment, Code::Unavailable, message);
        let host = authority(uri);
        match self {
            Fault::NoSuchHost(name) => error.hint(format!("check the spelling of `{name}`")),
            Fault::NoNames(..) => error.hint("check the network and `/etc/resolv.conf`"),
            Fault::Refused => error.hint(format!("check that something listens at `{host}`")),
            Fault::NoTls => {
                error.hint(format!("to use `{host}` without encryption, set `http = true` for this registry"))
            }
            Fault::Certificate(_) => error.hint(format!(
                "give the certificate of its authority as `ca` of the registry `{host}`, or set `insecure = true`"
            )),
            Fault::OwnCertificate(_) => error.hint(format!(
                "`{host}` wants to see a certificate: give one that it trusts as `keypair` of this registry"
            )),
            Fault::Proxy(_) => error.hint("check HTTP_PROXY, HTTPS_PROXY and NO_PROXY"),
            Fault::Tls(_) | Fault::Timeout | Fault::Broken(_) => error,
        }
    }
}

/// The fault that one link of a chain of causes stands for, if it says that.
fn known(e: &(dyn StdError + 'static)) -> Option<Fault> {
    if let Some(e) = e.downcast_ref::<dns::Failure>() {
        return Some(match e {
            dns::Failure::NoSuchHost(name) => Fault::NoSuchHost(name.clone()),
            dns::Failure::Unknown(name, why) => Fault::NoNames(name.clone(), why.clone()),
        });
    }
    if let Some(e) = e.downcast_ref::<rustls::Error>() {
        return Some(match e {
            rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => Fault::NoTls,
            rustls::Error::InvalidCertificate(why) => Fault::Certificate(why.to_string()),
            rustls::Error::AlertReceived(alert) if refuses_certificate(*alert) => {
                Fault::OwnCertificate(e.to_string())
            }
            e => Fault::Tls(e.to_string()),
        });
    }
    // The type has no public name. Where it has a cause, that says more.
    if e.source().is_none()
        && let Some(why) = e.to_string().strip_prefix("tunnel error: ")
    {
        return Some(Fault::Proxy(why.to_owned()));
    }
    let kind = e.downcast_ref::<io::Error>()?.kind();
    match kind {
        io::ErrorKind::ConnectionRefused => Some(Fault::Refused),
        io::ErrorKind::TimedOut => Some(Fault::Timeout),
        _ => None,
    }
}

/// Alerts of servers that look at certificates of clients (RFC 8446, 6.2).
fn refuses_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateRequired
    )
}
