//! A build whose frontend is asked by the client itself, over the build's own bridge, as buildctl and buildx do. The
//! client sees then what the frontend answers beside files: an outline, a list of targets.

use std::collections::BTreeMap;

use errdefs::Result;
use proto::gateway as pb;
use proto::gateway::llb_bridge_client::LlbBridgeClient;
use session::grpcerr;
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;

use crate::client::Client;
use crate::request::SolveRequest;

/// Names the build in each call.
const BUILD_ID: &str = "buildkit-controlapi-buildid";

/// What a frontend says of its result, by key, as `result.txt`.
pub type Metadata = BTreeMap<String, Vec<u8>>;

struct Bridge {
    client: LlbBridgeClient<Channel>,
    build: String,
}

impl Client {
    /// Has the frontend of a request solve, and returns the result to the build. What goes wrong is the build's error.
    pub(crate) async fn ask_frontend(&self, request: SolveRequest) -> Result<Metadata> {
        let client = proto::sized!(LlbBridgeClient::new(self.channel()));
        let mut bridge = Bridge { client, build: request.id.clone() };
        // The bridge is there a moment after the build.
        let ping = bridge.call(pb::PingRequest {});
        bridge.client.ping(ping).await.map_err(grpcerr::from_status)?;
        let solve = bridge.call(pb::SolveRequest {
            definition: request.definition.clone().map(Into::into),
            frontend: request.frontend.clone(),
            frontend_opt: request.frontend_attrs.clone(),
            allow_result_return: true,
            allow_result_array_ref: true,
            cache_imports: request
                .cache_imports
                .iter()
                .map(|c| pb::CacheOptionsEntry { r#type: c.kind.clone(), attrs: c.attrs.clone() })
                .collect(),
            ..pb::SolveRequest::default()
        });
        let (answer, told) = match bridge.client.solve(solve).await {
            Ok(answer) => {
                let result = answer.into_inner().result.unwrap_or_default();
                let metadata = result.metadata.clone();
                (pb::ReturnRequest { result: Some(result), error: None }, Ok(metadata))
            }
            Err(status) => {
                let error = grpcerr::from_status(status);
                (pb::ReturnRequest { result: None, error: Some(grpcerr::to_rpc(&error)) }, Err(error))
            }
        };
        let answer = bridge.call(answer);
        bridge.client.r#return(answer).await.map_err(grpcerr::from_status)?;
        told
    }
}

impl Bridge {
    fn call<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Ok(id) = MetadataValue::try_from(&self.build) {
            request.metadata_mut().insert(BUILD_ID, id);
        }
        request
    }
}
