use std::sync::Arc;

use proto::filesync::auth_server::Auth as AuthService;
use proto::filesync::{
    CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse, GetTokenAuthorityRequest,
    GetTokenAuthorityResponse, VerifyTokenAuthorityRequest, VerifyTokenAuthorityResponse,
};
use tonic::{Request, Response, Status};

use crate::grpcerr;
use crate::offer::{AuthSource, TokenRequest};

pub(super) struct Auth(pub Arc<dyn AuthSource>);

#[tonic::async_trait]
impl AuthService for Auth {
    async fn credentials(
        &self,
        request: Request<CredentialsRequest>,
    ) -> Result<Response<CredentialsResponse>, Status> {
        let found = self.0.credentials(&request.get_ref().host).await.map_err(|e| grpcerr::to_status(&e))?;
        let answer = found.map_or_else(CredentialsResponse::default, |c| CredentialsResponse {
            username: c.username,
            secret: c.secret,
        });
        Ok(Response::new(answer))
    }

    async fn fetch_token(
        &self,
        request: Request<FetchTokenRequest>,
    ) -> Result<Response<FetchTokenResponse>, Status> {
        let FetchTokenRequest { host, realm, service, scopes, .. } = request.into_inner();
        let request = TokenRequest { host, realm, service, scopes };
        let found = self.0.token(&request).await.map_err(|e| grpcerr::to_status(&e))?;
        let token = found.ok_or_else(|| Status::unimplemented("this client fetches no tokens"))?;
        Ok(Response::new(FetchTokenResponse {
            token: token.token,
            expires_in: token.expires_in,
            issued_at: token.issued_at,
        }))
    }

    async fn get_token_authority(
        &self,
        _: Request<GetTokenAuthorityRequest>,
    ) -> Result<Response<GetTokenAuthorityResponse>, Status> {
        Err(no_authority())
    }

    async fn verify_token_authority(
        &self,
        _: Request<VerifyTokenAuthorityRequest>,
    ) -> Result<Response<VerifyTokenAuthorityResponse>, Status> {
        Err(no_authority())
    }
}

/// The engine then asks for credentials instead.
fn no_authority() -> Status {
    Status::unimplemented("this client is no token authority")
}
