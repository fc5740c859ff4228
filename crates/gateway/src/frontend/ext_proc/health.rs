//! Is the picker alive, and may it be asked?
//!
//! The gRPC health protocol, with the names that probes of the field use: `liveness` is the process, every other
//! known name whether requests can be decided. A name that nobody knows is answered `SERVICE_UNKNOWN`.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use tonic::body::Body;
use tonic::server::{Grpc, UnaryService};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use crate::gateway::Gateway;

/// Names whose answer is readiness.
static READINESS: [&str; 4] = [
    "",
    "readiness",
    "envoy.service.ext_proc.v3.ExternalProcessor",
    "inference-extension",
];
const LIVENESS: &str = "liveness";

const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;
const SERVICE_UNKNOWN: i32 = 3;

pub(super) const PATH: &str = "/grpc.health.v1.Health/";

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct CheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct ListRequest {}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ListResponse {
    #[prost(map = "string, message", tag = "1")]
    statuses: HashMap<String, CheckResponse>,
}

fn status(gateway: &Gateway, service: &str) -> i32 {
    if service == LIVENESS {
        return SERVING;
    }
    if !READINESS.contains(&service) {
        return SERVICE_UNKNOWN;
    }
    match gateway.is_synced() && !gateway.is_draining() {
        true => SERVING,
        false => NOT_SERVING,
    }
}

struct Check(Arc<Gateway>);
struct List(Arc<Gateway>);

type Answer<T> = Pin<Box<dyn Future<Output = Result<tonic::Response<T>, Status>> + Send>>;

impl UnaryService<CheckRequest> for Check {
    type Response = CheckResponse;
    type Future = Answer<CheckResponse>;

    fn call(&mut self, request: tonic::Request<CheckRequest>) -> Self::Future {
        let status = status(&self.0, &request.get_ref().service);
        Box::pin(async move { Ok(tonic::Response::new(CheckResponse { status })) })
    }
}

impl UnaryService<ListRequest> for List {
    type Response = ListResponse;
    type Future = Answer<ListResponse>;

    fn call(&mut self, _: tonic::Request<ListRequest>) -> Self::Future {
        let names = READINESS.into_iter().chain([LIVENESS]);
        let statuses = names.map(|name| {
            let status = status(&self.0, name);
            (name.to_owned(), CheckResponse { status })
        });
        let statuses = statuses.collect();
        Box::pin(async move { Ok(tonic::Response::new(ListResponse { statuses })) })
    }
}

/// Answers one call of the health service.
pub(super) async fn answer(
    gateway: Arc<Gateway>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let method = request.uri().path().strip_prefix(PATH);
    Ok(match method {
        Some("Check") => {
            let mut grpc = Grpc::new(ProstCodec::<CheckResponse, CheckRequest>::default());
            grpc.unary(Check(gateway), request).await
        }
        Some("List") => {
            let mut grpc = Grpc::new(ProstCodec::<ListResponse, ListRequest>::default());
            grpc.unary(List(gateway), request).await
        }
        _ => unimplemented_call(),
    })
}

/// The answer to a call of nothing that is served here.
pub(super) fn unimplemented_call() -> Response<Body> {
    Status::new(Code::Unimplemented, "this call is not served here").into_http()
}
