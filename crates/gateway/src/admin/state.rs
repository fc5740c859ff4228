//! What does the whole gateway look like now?

use fleet::FleetReport;
use http::{Response, StatusCode};
use serde::Serialize;

use crate::gateway::Gateway;
use crate::local;
use crate::reply::Reply;

/// `GET /admin/state`.
#[derive(Serialize)]
struct State {
    version: &'static str,
    uptime_ms: u64,
    ready: bool,
    draining: bool,
    requests_in_flight: usize,
    /// Where requests are decided for a data plane.
    #[serde(skip_serializing_if = "Option::is_none")]
    picker: Option<crate::frontend::ext_proc::Report>,
    /// How current what pools and rules were made from is.
    #[serde(skip_serializing_if = "Option::is_none")]
    discovery: Option<Vec<crate::SourceReport>>,
    /// Rules in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    rules: Option<usize>,
    pools: Vec<PoolState>,
}

#[derive(Serialize)]
struct PoolState {
    #[serde(flatten)]
    fleet: FleetReport,
    path: Option<String>,
    preset: String,
    default: bool,
    prefix_routing: bool,
    /// Who turns its prompts into tokens, and how often.
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<crate::tokens::TokenReport>,
}

pub(super) fn answer(gateway: &Gateway) -> Response<Reply> {
    let now = gateway.clock.now();
    let routes = gateway.routes.load();
    let pools = routes.pools.iter().map(|pool| PoolState {
        fleet: FleetReport {
            pool: pool.name.to_string(),
            ..pool.fleet().report(now)
        },
        path: pool.route.path.clone(),
        preset: pool.route.preset.clone(),
        default: routes.is_default(pool),
        prefix_routing: pool.route.prefix_routing,
        tokens: pool.route.tokens.as_ref().map(|tokens| tokens.report()),
    });
    let state = State {
        version: env!("CARGO_PKG_VERSION"),
        uptime_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        ready: gateway.is_ready(),
        draining: gateway.is_draining(),
        requests_in_flight: gateway.in_flight(),
        picker: gateway.picker.get().map(|picker| picker.report()),
        discovery: gateway.sources.get().map(|sources| sources()),
        rules: routes.table.as_ref().map(crate::table::Table::len),
        pools: pools.collect(),
    };
    local::json_body(StatusCode::OK, &state)
}
