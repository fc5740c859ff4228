//! Where do log lines go? To standard error; answers alone go to standard output.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// Starts the log. `RUST_LOG` wins over `verbose`, which wins over the command's own default. Connections of KV-event
/// sockets are told by those who own the sockets.
pub(crate) fn start(verbose: u8, json: bool, info_by_default: bool) {
    let level = match (verbose, info_by_default) {
        (0, false) => "warn",
        (0, true) => "info",
        (1, _) => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("{level},zeromq=warn")));
    let builder = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    if json {
        builder.json().init();
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).init();
    }
}
