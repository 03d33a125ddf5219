use std::sync::Arc;

use proto::secrets::secrets_server::Secrets as SecretsService;
use proto::secrets::{GetSecretRequest, GetSecretResponse};
use tonic::{Request, Response, Status};

use crate::grpcerr;
use crate::offer::{MAX_SECRET, SecretStore};

pub(super) struct Secrets(pub Arc<dyn SecretStore>);

#[tonic::async_trait]
impl SecretsService for Secrets {
    async fn get_secret(
        &self,
        request: Request<GetSecretRequest>,
    ) -> Result<Response<GetSecretResponse>, Status> {
        let found = self.0.secret(&request.get_ref().id).await.map_err(|e| grpcerr::to_status(&e))?;
        let data = found.ok_or_else(|| Status::not_found("not found"))?;
        if data.len() > MAX_SECRET {
            return Err(Status::unknown(format!("invalid secret size {}", data.len())));
        }
        Ok(Response::new(GetSecretResponse { data }))
    }
}
