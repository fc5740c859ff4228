//! How does a person read the checks?

use std::fmt::Write as _;

use super::outcome::{Report, Status};

/// One block per check: verdict and name, then expected and seen, then the hint.
pub(crate) fn text(report: &Report) -> String {
    let model = report.model.as_deref().unwrap_or("no model named");
    let mut out = format!("verify {} ({model})\n", report.url);
    if report.simulated {
        let _ = writeln!(out, "{}", benchmark::report::text::SIMULATED);
    }
    out.push('\n');
    for check in &report.checks {
        let verdict = match check.status {
            Status::Pass => "PASS",
            Status::Fail => "FAIL",
            Status::Skip => "SKIP",
        };
        let _ = writeln!(out, "{verdict}  {}", check.name);
        let _ = writeln!(out, "      expected  {}", check.expected);
        let _ = writeln!(out, "      seen      {}", check.seen);
        if let Some(hint) = &check.hint {
            let _ = writeln!(out, "      hint      {hint}");
        }
    }
    let _ = writeln!(
        out,
        "\n{} passed, {} failed, {} skipped",
        report.passed, report.failed, report.skipped
    );
    out
}
