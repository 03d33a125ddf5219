use std::sync::Arc;

use proto::filesync::auth_server::Auth as AuthService;
use proto::filesync::{
    CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse, GetTokenAuthorityRequest,
    GetTokenAuthorityResponse, VerifyTokenAuthorityRequest, VerifyTokenAuthorityResponse,
};
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use tonic::{Request, Response, Status};

use crate::grpcerr;
use crate::offer::{AuthSource, TokenRequest};

pub(super) struct Auth {
    source: Arc<dyn AuthSource>,
    /// By it engines tell whose tokens are whose.
    secret: Option<[u8; 32]>,
}

impl Auth {
    pub fn new(source: Arc<dyn AuthSource>) -> Self {
        // Without random bytes tokens are left to the engine.
        let secret = ring::rand::generate(&ring::rand::SystemRandom::new()).ok();
        Auth { source, secret: secret.map(ring::rand::Random::expose) }
    }

    /// The key of this client for a host and an engine, whose salt it is.
    fn key(&self, host: &str, salt: &[u8]) -> Result<Ed25519KeyPair, Status> {
        let secret = self.secret.filter(|_| self.source.is_authority(host));
        // The engine then asks for credentials instead.
        let secret = secret.ok_or_else(|| Status::unimplemented("this client is no token authority"))?;
        let seed = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, salt), &secret);
        Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).map_err(|e| Status::internal(e.to_string()))
    }
}

#[tonic::async_trait]
impl AuthService for Auth {
    async fn credentials(
        &self,
        request: Request<CredentialsRequest>,
    ) -> Result<Response<CredentialsResponse>, Status> {
        let found =
            self.source.credentials(&request.get_ref().host).await.map_err(|e| grpcerr::to_status(&e))?;
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
        let found = self.source.token(&request).await.map_err(|e| grpcerr::to_status(&e))?;
        let token = found.ok_or_else(|| Status::unimplemented("this client fetches no tokens"))?;
        Ok(Response::new(FetchTokenResponse {
            token: token.token,
            expires_in: token.expires_in,
            issued_at: token.issued_at,
        }))
    }

    async fn get_token_authority(
        &self,
        request: Request<GetTokenAuthorityRequest>,
    ) -> Result<Response<GetTokenAuthorityResponse>, Status> {
        let GetTokenAuthorityRequest { host, salt } = request.into_inner();
        let key = self.key(&host, &salt)?;
        Ok(Response::new(GetTokenAuthorityResponse { public_key: key.public_key().as_ref().to_vec() }))
    }

    /// The answer is signature and payload in one, as NaCl's `crypto_sign` gives it.
    async fn verify_token_authority(
        &self,
        request: Request<VerifyTokenAuthorityRequest>,
    ) -> Result<Response<VerifyTokenAuthorityResponse>, Status> {
        let VerifyTokenAuthorityRequest { host, payload, salt } = request.into_inner();
        let mut signed = self.key(&host, &salt)?.sign(&payload).as_ref().to_vec();
        signed.extend_from_slice(&payload);
        Ok(Response::new(VerifyTokenAuthorityResponse { signed }))
    }
}
