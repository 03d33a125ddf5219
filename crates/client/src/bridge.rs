//! A build whose frontend is asked by the client itself, over the build's own bridge, as buildctl and buildx do. The
//! client sees then what the frontend answers beside files: an outline, a list of targets, graphs that other builds can
//! go on from; and it can look into the files.

use std::collections::BTreeMap;

use errdefs::{Code, Error, Result};
use futures_util::future::try_join_all;
use llb::Definition;
use proto::gateway as pb;
use proto::gateway::llb_bridge_client::LlbBridgeClient;
use proto::gateway::result::Result as Refs;
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

#[derive(Clone)]
pub(crate) struct Bridge {
    pub client: LlbBridgeClient<Channel>,
    pub build: String,
}

/// What a frontend has made. The build waits for it: nothing of it need have run yet.
pub struct Made {
    bridge: Bridge,
    refs: Vec<String>,
    pub graphs: Graphs,
    pub metadata: Metadata,
}

/// Graphs of what a frontend has made. An empty one is a result without files.
#[derive(Debug, Clone, PartialEq)]
pub enum Graphs {
    /// It was asked something.
    None,
    One(Definition),
    /// By platform, as `linux/amd64`.
    ByPlatform(BTreeMap<String, Definition>),
}

impl Client {
    /// Has the frontend of a request solve, lets `between` look at what it made, and returns that to the build. What goes
    /// wrong is the build's error.
    pub(crate) async fn ask_frontend<T, F: Future<Output = Result<T>>>(
        &self,
        request: SolveRequest,
        between: impl FnOnce(Made) -> F,
    ) -> Result<T> {
        let client = proto::sized!(LlbBridgeClient::new(self.channel()));
        let mut bridge = Bridge { client, build: request.id.clone() };
        // The bridge is there a moment after the build.
        let ping = bridge.call(pb::PingRequest {});
        bridge.client.ping(ping).await.map_err(grpcerr::from_status)?;
        let asked = match bridge.solve(request).await {
            Ok(result) => match Made::of(bridge.clone(), &result) {
                Ok(made) => between(made).await.map(|told| (result, told)),
                Err(e) => Err(e),
            },
            Err(e) => Err(e),
        };
        let (answer, told) = match asked {
            Ok((result, told)) => (pb::ReturnRequest { result: Some(result), error: None }, Ok(told)),
            Err(e) => (pb::ReturnRequest { result: None, error: Some(grpcerr::to_rpc(&e)) }, Err(e)),
        };
        let answer = bridge.call(answer);
        bridge.client.r#return(answer).await.map_err(grpcerr::from_status)?;
        told
    }
}

impl Bridge {
    pub fn call<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Ok(id) = MetadataValue::try_from(&self.build) {
            request.metadata_mut().insert(BUILD_ID, id);
        }
        request
    }

    pub async fn solve(&mut self, request: SolveRequest) -> Result<pb::Result> {
        let entry = |kind, attrs| pb::CacheOptionsEntry { r#type: kind, attrs };
        let solve = self.call(pb::SolveRequest {
            frontend_inputs: request.inputs_to_wire(),
            definition: request.definition.map(Into::into),
            frontend: request.frontend,
            frontend_opt: request.frontend_attrs,
            allow_result_return: true,
            allow_result_array_ref: true,
            cache_imports: request.cache_imports.into_iter().map(|c| entry(c.kind, c.attrs)).collect(),
            ..pb::SolveRequest::default()
        });
        let answer = self.client.solve(solve).await.map_err(grpcerr::from_status)?;
        Ok(answer.into_inner().result.unwrap_or_default())
    }
}

impl Made {
    pub(crate) fn of(bridge: Bridge, result: &pb::Result) -> Result<Self> {
        let graph = |one: &pb::Ref| one.def.clone().map_or(Ok(Definition::default()), Definition::try_from);
        let (refs, graphs) = match &result.result {
            Some(Refs::Ref(one)) => (vec![one.id.clone()], Graphs::One(graph(one)?)),
            Some(Refs::Refs(map)) => {
                let graphs = map.refs.iter().map(|(platform, one)| Ok((platform.clone(), graph(one)?)));
                let ids = map.refs.values().map(|one| one.id.clone());
                (ids.collect(), Graphs::ByPlatform(graphs.collect::<Result<_>>()?))
            }
            // The request asks for the other forms.
            None | Some(Refs::RefDeprecated(_) | Refs::RefsDeprecated(_)) => (Vec::new(), Graphs::None),
        };
        let refs = refs.into_iter().filter(|id: &String| !id.is_empty()).collect();
        Ok(Made { bridge, refs, graphs, metadata: result.metadata.clone() })
    }

    /// Whether a result of it has no files.
    pub fn is_empty(&self) -> bool {
        match &self.graphs {
            Graphs::None => true,
            Graphs::One(graph) => graph.is_empty(),
            Graphs::ByPlatform(graphs) => graphs.values().any(Definition::is_empty),
        }
    }

    /// Runs all steps of it.
    pub async fn evaluate(&self) -> Result<()> {
        let one = async |id: &String| {
            let mut bridge = self.bridge.clone();
            let call = bridge.call(pb::EvaluateRequest { r#ref: id.clone() });
            bridge.client.evaluate(call).await.map_err(grpcerr::from_status)
        };
        try_join_all(self.refs.iter().map(one)).await.map(drop)
    }

    /// A file of the only result, as far as its first `most` bytes; nothing where there is none.
    pub async fn read_file(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>> {
        let [id] = self.refs.as_slice() else { return Ok(None) };
        let mut bridge = self.bridge.clone();
        let stat = bridge.call(pb::StatFileRequest {
            r#ref: id.clone(),
            path: path.as_bytes().to_vec(),
            mount_index: 0,
        });
        match bridge.client.stat_file(stat).await.map_err(grpcerr::from_status) {
            Ok(_) => {}
            Err(e) if is_missing(&e) => return Ok(None),
            Err(e) => return Err(e),
        }
        let read = bridge.call(pb::ReadFileRequest {
            r#ref: id.clone(),
            file_path: path.as_bytes().to_vec(),
            range: Some(pb::FileRange { offset: 0, length: i64::try_from(most).unwrap_or(i64::MAX) }),
            mount_index: 0,
        });
        let answer = bridge.client.read_file(read).await.map_err(grpcerr::from_status)?;
        Ok(Some(answer.into_inner().data))
    }
}

/// BuildKit says it in words only.
fn is_missing(e: &Error) -> bool {
    e.code() == Code::NotFound || e.to_string().contains("no such file or directory")
}
