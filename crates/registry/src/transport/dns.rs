//! Names to addresses, without the C library: `/etc/hosts`, then the servers of `/etc/resolv.conf`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::SystemTime;

use hickory_resolver::TokioResolver;
use hickory_resolver::net::NetError;
use hyper_util::client::legacy::connect::dns::Name;
use tower::Service;

/// A resolver that notices when the machine's settings change.
#[derive(Clone, Default)]
pub struct Dns(Arc<Mutex<Option<(Version, TokioResolver)>>>);

/// When the settings were last written.
type Version = [Option<SystemTime>; 2];

/// Why there is no address.
#[derive(Debug)]
pub enum Failure {
    /// The name is known not to exist.
    NoSuchHost(String),
    /// Nobody could tell.
    Unknown(String, String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::NoSuchHost(name) => write!(f, "lookup {name}: no such host"),
            Failure::Unknown(name, why) => write!(f, "lookup {name}: {why}"),
        }
    }
}

impl std::error::Error for Failure {}

impl Dns {
    /// The addresses of a name; at least one.
    pub async fn lookup(self, name: String) -> Result<Vec<IpAddr>, Failure> {
        if name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let unknown = |e: NetError| Failure::Unknown(name.clone(), e.to_string());
        let resolver = self.current().map_err(unknown)?;
        match resolver.lookup_ip(name.as_str()).await {
            Ok(found) => Ok(found.iter().collect()),
            Err(e) if e.is_no_records_found() || e.is_nx_domain() => Err(Failure::NoSuchHost(name)),
            Err(e) => Err(unknown(e)),
        }
    }

    fn current(&self) -> Result<TokioResolver, NetError> {
        let written = |path: &str| std::fs::metadata(path).and_then(|m| m.modified()).ok();
        let version = [written("/etc/resolv.conf"), written("/etc/hosts")];
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, resolver)) = &*kept
            && *known == version
        {
            return Ok(resolver.clone());
        }
        let resolver = TokioResolver::builder_tokio()?.build()?;
        *kept = Some((version, resolver.clone()));
        Ok(resolver)
    }
}

impl Service<Name> for Dns {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let lookup = self.clone().lookup(name.as_str().to_owned());
        Box::pin(async move {
            let at_no_port = |ip| SocketAddr::new(ip, 0);
            Ok(lookup.await?.into_iter().map(at_no_port).collect::<Vec<_>>().into_iter())
        })
    }
}
