//! A broken-off request that looks like one.

use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

/// A service whose request streams fail when the caller breaks off. tonic by itself ends such a stream as if all had
/// been sent, and half a file would be taken for a whole one.
#[derive(Clone)]
pub(super) struct Strict<S>(pub S);

impl<S> Service<Request<Body>> for Strict<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> S::Future {
        let told = |body| {
            http_body_util::BodyExt::map_err(body, |status: Status| match status.code() {
                tonic::Code::Cancelled => Status::aborted("the transfer was broken off"),
                _ => status,
            })
        };
        self.0.call(request.map(|body| Body::new(told(body))))
    }
}

impl<S: NamedService> NamedService for Strict<S> {
    const NAME: &'static str = S::NAME;
}
