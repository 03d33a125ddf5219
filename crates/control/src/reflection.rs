//! Tells those who ask what is served here (grpc.reflection).

use errdefs::{Error, Result};
use tonic::service::RoutesBuilder;
use tonic_reflection::server::Builder;

/// What is served.
const SERVICES: &[&str] = &[
    "containerd.services.content.v1.Content",
    "grpc.health.v1.Health",
    "kiln.v1.Containers",
    "kiln.v1.History",
    "kiln.v1.Images",
    "kiln.v1.Store",
    "moby.buildkit.v1.Control",
    "moby.buildkit.v1.frontend.LLBBridge",
];

/// Adds the service, in both versions that clients ask for.
pub(crate) fn add(routes: &mut RoutesBuilder) -> Result<()> {
    let builder = || {
        let builder = Builder::configure().register_encoded_file_descriptor_set(proto::DESCRIPTORS);
        SERVICES.iter().fold(builder, |builder, name| builder.with_service_name(*name))
    };
    let broken = |e: tonic_reflection::server::Error| Error::internal(format!("reflection: {e}"));
    routes.add_service(builder().build_v1().map_err(broken)?);
    routes.add_service(builder().build_v1alpha().map_err(broken)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_services_are_described() {
        add(&mut tonic::service::Routes::builder()).expect("the descriptors fit");
        for name in SERVICES {
            let service = name.rsplit('.').next().expect("a name");
            let named = proto::DESCRIPTORS.windows(service.len()).any(|bytes| bytes == service.as_bytes());
            assert!(named, "{name}");
        }
    }
}
