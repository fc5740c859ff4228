//! What may a contributor type? `cargo xtask ci | e2e | playground | docs | tidy`; nothing else decides whether a change is good.

mod ci;
mod e2e;
mod http;
mod playground;
mod python;
mod run;
mod thousand;
mod tidy;
mod up;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask <command>
  ci            everything CI runs: format, clippy, tests, docs, generated docs current, tidy, end-to-end, deny
  e2e [NAME]    end-to-end checks against the built binary: client, kv-events, verify, kill, stop, kubernetes (all when no NAME)
                e2e kill --seeds N   more seeds than CI runs;  e2e exact   predictions by cache events, and events failing
  playground    an API server with simulated nodes, controller and gateway, to try with kubectl
                --api, --gateway, --admin ADDRESS   --tpu-nodes, --gpu-nodes N   --time-scale FACTOR   --bare: the API alone
  services [N]  what the controller costs with N services (1000): requests to the API, memory
  docs          writes the generated reference pages
  tidy          rules about the tree: crate dependencies, pure crates, plugin files, module docs";

#[allow(clippy::print_stderr, reason = "xtask talks to a terminal")]
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["ci"] => ci::run(),
        ["e2e", rest @ ..] => e2e::run(rest),
        ["playground", rest @ ..] => playground::run(rest),
        ["services"] => thousand::run(1_000),
        ["services", count] => match count.parse() {
            Ok(count) => thousand::run(count),
            Err(_) => Err(anyhow::anyhow!("services wants a number, not {count}")),
        },
        ["docs"] => ci::docs(false),
        ["tidy"] => tidy::run(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
