//! The gRPC service in front of the engine.
//!
//! [`routes`] gives what BuildKit's clients call: Control, and LLBBridge for clients that are their own frontend;
//! and, for Kiln's own client, Images and Containers. Wire types are converted here, once and whole; what cannot be done
//! is refused here.
//!
//! Never: hold build logic.

mod caps;
mod convert;
mod gateway;
mod images;
mod run;
mod service;

use std::collections::BTreeMap;

use engine::Engine;
use oci::Platform;
use proto::control::control_server::ControlServer;
use proto::gateway::llb_bridge_server::LlbBridgeServer;
use proto::health::health_server::HealthServer;
use proto::kiln::containers_server::ContainersServer;
use proto::kiln::images_server::ImagesServer;
use proto::sized;
pub use proto::transport::server;
use proto::worker::{BuildkitVersion, WorkerRecord};
use tonic::service::Routes;

/// What the engine says of itself.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// As `github.com/moby/buildkit`.
    pub package: String,
    pub version: String,
    pub revision: String,
    /// Version of the Dockerfile frontend.
    pub dockerfile_version: String,
    /// Stays the same for one store.
    pub worker_id: String,
    pub labels: BTreeMap<String, String>,
    /// Platforms that steps can run on, the engine's own first.
    pub platforms: Vec<Platform>,
}

/// All services of an engine, to be served on any number of listeners with [`proto::transport::server`].
pub fn routes(engine: Engine, about: &About) -> Routes {
    let version = BuildkitVersion {
        package: about.package.clone(),
        version: about.version.clone(),
        revision: about.revision.clone(),
        dockerfile_version: about.dockerfile_version.clone(),
    };
    let worker = WorkerRecord {
        id: about.worker_id.clone(),
        labels: about.labels.clone(),
        platforms: about.platforms.iter().map(convert::platform).collect(),
        buildkit_version: Some(version.clone()),
        ..WorkerRecord::default()
    };
    let gateway = gateway::Gateway { engine: engine.clone(), worker: worker.clone() };
    let images = images::Service { engine: engine.clone() };
    let containers = run::Service { engine: engine.clone() };
    let control = service::Service { engine, version, worker };
    let mut routes = Routes::builder();
    routes.add_service(HealthServer::new(session::AlwaysServing));
    routes.add_service(sized!(ControlServer::new(control)));
    routes.add_service(sized!(LlbBridgeServer::new(gateway)));
    routes.add_service(sized!(ImagesServer::new(images)));
    routes.add_service(sized!(ContainersServer::new(containers)));
    routes.routes()
}
