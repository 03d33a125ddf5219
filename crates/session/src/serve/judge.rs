use std::sync::Arc;

use proto::policysession::policy_verifier_server::PolicyVerifier as JudgeService;
use proto::policysession::{CheckPolicyRequest, CheckPolicyResponse};
use tonic::{Request, Response, Status};

use crate::offer::Judge;
use crate::{grpcerr, judge};

pub(super) struct Judges(pub Arc<dyn Judge>);

#[tonic::async_trait]
impl JudgeService for Judges {
    async fn check_policy(
        &self,
        request: Request<CheckPolicyRequest>,
    ) -> Result<Response<CheckPolicyResponse>, Status> {
        let request = judge::request(request.into_inner());
        let request = request.ok_or_else(|| Status::invalid_argument("no source info in request"))?;
        let answer = self.0.judge(request).await.map_err(|e| grpcerr::to_status(&e))?;
        Ok(Response::new(CheckPolicyResponse { result: Some(judge::answer(answer)) }))
    }
}
