//! The gRPC service in front of the engine.
//!
//! [`routes`] gives what BuildKit's clients call: Control, and LLBBridge for clients that are their own frontend;
//! the blobs of builds as containerd serves them; and, for Kiln's own client, Images, Store and Containers. Wire types
//! are converted here, once and whole; what cannot be done is refused here.
//!
//! Never: hold build logic.

mod by_build;
mod content;
mod convert;
mod history;
mod images;
mod import;
mod reflection;
mod run;
mod service;
mod store;

use std::collections::BTreeMap;

use engine::Engine;
pub use history::BuildKitWire;
use oci::Platform;
use proto::content::content_server::ContentServer;
use proto::control::control_server::ControlServer;
use proto::gateway::llb_bridge_server::LlbBridgeServer;
use proto::health::health_server::HealthServer;
use proto::kiln::containers_server::ContainersServer;
use proto::kiln::history_server::HistoryServer;
use proto::kiln::images_server::ImagesServer;
use proto::kiln::store_server::StoreServer;
use proto::sized;
pub use proto::transport::server;
use proto::worker::{BuildkitVersion, WorkerRecord};
use refs::PruneOptions;
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
    /// How the build cache is kept small, in the order of application.
    pub gc: Vec<PruneOptions>,
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
        gc_policy: about.gc.iter().map(convert::gc_policy).collect(),
        buildkit_version: Some(version.clone()),
        ..WorkerRecord::default()
    };
    let bridge = gateway::Service(by_build::ByBuild(engine.clone()));
    let images = images::Service { engine: engine.clone() };
    let store = store::Service { engine: engine.clone() };
    let containers = run::Service { engine: engine.clone() };
    let content = content::Service { engine: engine.clone() };
    let import = import::Service { engine: engine.clone() };
    let control = service::Service { engine, version, worker };
    let mut routes = Routes::builder();
    routes.add_service(HealthServer::new(session::AlwaysServing));
    routes.add_service(sized!(ControlServer::new(control)));
    routes.add_service(sized!(LlbBridgeServer::new(bridge)));
    routes.add_service(sized!(ContentServer::new(content)));
    routes.add_service(sized!(HistoryServer::new(import)));
    routes.add_service(sized!(ImagesServer::new(images)));
    routes.add_service(sized!(StoreServer::new(store)));
    routes.add_service(sized!(ContainersServer::new(containers)));
    if let Err(e) = reflection::add(&mut routes) {
        tracing::error!("what is served here is not told: {e}");
    }
    routes.routes()
}
