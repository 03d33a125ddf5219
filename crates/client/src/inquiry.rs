//! A build that builds nothing: it stands open, so that the engine can be asked about sources, and files in them.

use std::collections::BTreeSet;
use std::sync::Arc;

use errdefs::{Error, Result, ResultExt as _};
use llb::Definition;
use policy::{Known, Question};
use progress::SolveStatus;
use proto::control as pb;
use proto::gateway as gw;
use proto::gateway::llb_bridge_client::LlbBridgeClient;
use session::{Attachables, grpcerr, judge};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::bridge::{Bridge, Graphs, Made};
use crate::client::Client;
use crate::request::{SolveRequest, new_id};

/// Open until it is dropped. Cheap to clone.
#[derive(Clone)]
pub struct Inquiry {
    bridge: Bridge,
    /// What the engine can, as `source.policy.session`.
    caps: Arc<BTreeSet<String>>,
    _open: Arc<Open>,
}

/// The build ends with it.
struct Open {
    _done: tokio_util::sync::DropGuard,
    _solve: AbortOnDropHandle<()>,
}

impl Client {
    /// Opens an inquiry. The engine has `attachables`, as logins of registries; `status` hears of what it does.
    pub async fn inquire(
        &self,
        attachables: Attachables,
        status: Option<mpsc::Sender<SolveStatus>>,
    ) -> Result<Inquiry> {
        let (id, session_id, done) = (new_id(), new_id(), CancellationToken::new());
        let session = self.open_session(&session_id, "", attachables, done.clone());
        let request = SolveRequest { id: id.clone(), internal: true, ..SolveRequest::default() };
        let wire: pb::SolveRequest = request.to_wire(&session_id);
        let mut control = self.control();
        let solve = async move {
            // Its answer is the end of it.
            let _ = control.solve(wire).await;
            drop(session);
        };
        let solve = AbortOnDropHandle::new(tokio::spawn(solve));
        if let Some(status) = status {
            tokio::spawn(self.clone().follow(id.clone(), status, done.clone(), done.clone()));
        }
        let client = proto::sized!(LlbBridgeClient::new(self.channel()));
        let mut bridge = Bridge { client, build: id };
        let ping = bridge.call(gw::PingRequest {});
        let answer = bridge.client.ping(ping).await.map_err(grpcerr::from_status);
        let answer = answer.context("failed to ask the engine")?.into_inner();
        let caps = answer.llb_caps.into_iter().filter(|cap| cap.enabled).map(|cap| cap.id).collect();
        let open = Open { _done: done.drop_guard(), _solve: solve };
        Ok(Inquiry { bridge, caps: Arc::new(caps), _open: Arc::new(open) })
    }
}

impl Inquiry {
    /// Whether the engine knows a capability of LLB.
    pub fn supports(&self, cap: &str) -> bool {
        self.caps.contains(cap)
    }

    /// What the engine finds out about a source.
    pub async fn ask(&self, question: &Question) -> Result<Known> {
        let mut bridge = self.bridge.clone();
        let call = bridge.call(judge::question(question));
        let answer = bridge.client.resolve_source_meta(call).await.map_err(grpcerr::from_status)?;
        judge::known(answer.into_inner()).ok_or_else(|| Error::environment("the engine names no source"))
    }

    /// Runs a graph, so that files can be read from it.
    pub async fn open(&self, definition: Definition) -> Result<Made> {
        let request = SolveRequest { definition: Some(definition), ..SolveRequest::default() };
        let result = self.bridge.clone().solve(request).await?;
        let made = Made::of(self.bridge.clone(), &result)?;
        match made.graphs {
            Graphs::None => Err(Error::environment("the engine gives no files")),
            Graphs::One(_) | Graphs::ByPlatform(_) => Ok(made),
        }
    }
}
