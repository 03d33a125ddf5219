use std::collections::BTreeMap;
use std::time::Duration;

use errdefs::{Code, Error, Result, ResultExt as _};
use hyper_util::rt::TokioIo;
use proto::control as pb;
use proto::control::control_client::ControlClient;
use session::grpcerr;
use tonic::transport::{Channel, Uri};

use crate::address::Address;
use crate::dial::{Said, dial};
use crate::tls::Tls;
use crate::usage::{PruneRequest, UsageRecord};

/// A connection to an engine. Cheap to clone; clones share the connection.
#[derive(Clone)]
pub struct Client {
    address: Address,
    channel: Channel,
    /// Of the program that has a way to the engine, if there is one.
    said: Said,
}

/// What an engine says it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EngineVersion {
    pub package: String,
    pub version: String,
    pub revision: String,
    /// Of the Dockerfile frontend.
    pub dockerfile_version: String,
}

/// One worker of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    pub id: String,
    pub labels: BTreeMap<String, String>,
    /// As `linux/amd64`, most wanted first.
    pub platforms: Vec<String>,
    /// How the build cache is kept small, in the order of application.
    pub gc_policy: Vec<GcPolicy>,
    pub version: EngineVersion,
    pub devices: Vec<Device>,
}

/// A device that steps may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Device {
    /// `vendor.com/class=name`.
    pub name: String,
    /// Every build may use it.
    pub auto_allow: bool,
    pub annotations: BTreeMap<String, String>,
    /// It is made when a step asks for it.
    pub on_demand: bool,
}

/// What one policy lets go.
pub type GcPolicy = PruneRequest;

impl Client {
    /// Connects without encryption. Fails with code `Unavailable` when nobody listens.
    pub async fn connect(address: &Address) -> Result<Self> {
        Self::connect_with(address, &Tls::default()).await
    }

    /// As [`Client::connect`]; with what `tls` says where the address is one of TCP.
    pub async fn connect_with(address: &Address, tls: &Tls) -> Result<Self> {
        let said = Said::default();
        let (target, security, hears) = (address.clone(), tls.clone(), said.clone());
        let connector = tower::service_fn(move |_: Uri| {
            let (target, security, hears) = (target.clone(), security.clone(), hears.clone());
            async move { Ok::<_, Error>(TokioIo::new(dial(&target, &security, &hears).await?)) }
        });
        let failed = |why: String| {
            Error::environment(format!("failed to connect to the engine at `{address}`: {why}"))
                .with_code(Code::Unavailable)
        };
        let words = async |e: String| match said.last_words().await {
            words if words.is_empty() => failed(e),
            words => failed(words),
        };
        let is_program = matches!(address, Address::Program(_));
        let channel = match proto::transport::endpoint().connect_with_connector(connector).await {
            Ok(channel) => channel,
            Err(e) if is_program => return Err(words(root_cause(&e)).await),
            Err(e) => return Err(failed(root_cause(&e))),
        };
        let client = Client { address: address.clone(), channel, said: said.clone() };
        // That a program started, or that a port is open, does not say that there is an engine behind it which lets
        // this client in.
        if matches!(address, Address::Unix(_)) {
            return Ok(client);
        }
        match (address, client.version().await) {
            (Address::Unix(_), _) | (_, Ok(_)) => Ok(client),
            (Address::Program(_), Err(e)) => Err(words(e.to_string()).await),
            (Address::Tcp(_), Err(e)) if tls.is_wanted() => Err(failed(e.to_string())),
            (Address::Tcp(_), Err(e)) => {
                Err(failed(e.to_string()).hint("an engine with TLS wants certificates"))
            }
        }
    }

    pub fn address(&self) -> &Address {
        &self.address
    }

    /// An error of a call, with what the program between here and the engine has said when the connection broke.
    pub(crate) async fn with_last_words(&self, error: Error) -> Error {
        let is_broken = matches!(error.code(), Code::Unavailable | Code::Unknown);
        if !is_broken || !matches!(self.address, Address::Program(_)) {
            return error;
        }
        match self.said.last_words().await {
            words if words.is_empty() => error,
            words => error.hint(format!("the connection by `{}` ended with: {words}", self.address)),
        }
    }

    pub(crate) fn control(&self) -> ControlClient<Channel> {
        proto::sized!(ControlClient::new(self.channel()))
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Asks what the engine is. Nothing when it is too old to tell.
    pub async fn version(&self) -> Result<Option<EngineVersion>> {
        match self.control().info(pb::InfoRequest {}).await {
            Ok(answer) => Ok(answer.into_inner().buildkit_version.map(version)),
            Err(status) if status.code() == tonic::Code::Unimplemented => Ok(None),
            Err(status) => {
                Err(grpcerr::from_status(status)).context("failed to ask for the engine's version")
            }
        }
    }

    pub async fn workers(&self) -> Result<Vec<Worker>> {
        self.workers_where(&[]).await
    }

    /// Workers that match, after `filter` in containerd's syntax.
    pub async fn workers_where(&self, filter: &[String]) -> Result<Vec<Worker>> {
        let answer = self.control().list_workers(pb::ListWorkersRequest { filter: filter.to_vec() }).await;
        let answer = answer.map_err(grpcerr::from_status).context("failed to list workers")?.into_inner();
        Ok(answer
            .record
            .into_iter()
            .map(|w| Worker {
                id: w.id,
                labels: w.labels.into_iter().collect(),
                platforms: w.platforms.iter().map(platform).collect(),
                gc_policy: w.gc_policy.into_iter().map(gc_policy).collect(),
                version: w.buildkit_version.map(version).unwrap_or_default(),
                devices: w.cdi_devices.into_iter().map(device).collect(),
            })
            .collect())
    }

    /// What takes up disk, after `filter` in containerd's syntax.
    pub async fn disk_usage(&self, filter: &[String]) -> Result<Vec<UsageRecord>> {
        let request = pb::DiskUsageRequest { filter: filter.to_vec(), age_limit: 0 };
        let answer = self.control().disk_usage(request).await;
        let answer = answer.map_err(grpcerr::from_status).context("failed to call diskusage")?.into_inner();
        Ok(answer.record.into_iter().map(UsageRecord::from).collect())
    }

    /// Removes what is not in use, and tells every record that went.
    pub async fn prune(&self, request: &PruneRequest, mut removed: impl FnMut(UsageRecord)) -> Result<()> {
        let answer = self.control().prune(request.to_wire()).await;
        let mut stream = answer.map_err(grpcerr::from_status).context("failed to call prune")?.into_inner();
        while let Some(record) = stream.message().await.map_err(grpcerr::from_status)? {
            removed(UsageRecord::from(record));
        }
        Ok(())
    }
}

fn version(v: proto::worker::BuildkitVersion) -> EngineVersion {
    EngineVersion {
        package: v.package,
        version: v.version,
        revision: v.revision,
        dockerfile_version: v.dockerfile_version,
    }
}

fn device(d: proto::worker::CdiDevice) -> Device {
    Device { name: d.name, auto_allow: d.auto_allow, annotations: d.annotations, on_demand: d.on_demand }
}

fn gc_policy(p: proto::worker::GcPolicy) -> GcPolicy {
    PruneRequest {
        filter: p.filters,
        all: p.all,
        keep_duration: Duration::from_nanos(u64::try_from(p.keep_duration).unwrap_or_default()),
        reserved_space: p.reserved_space,
        max_used_space: p.max_used_space,
        min_free_space: p.min_free_space,
    }
}

fn platform(p: &proto::pb::Platform) -> String {
    [&p.os, &p.architecture, &p.variant]
        .into_iter()
        .filter(|s| !s.is_empty())
        .cloned()
        .collect::<Vec<_>>()
        .join("/")
}

/// tonic says "transport error"; the reason is underneath.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
