//! How is a whole system started for a check, on ports of its own?

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::run::{cargo, root, step};

/// Longest wait for a started system to end by itself.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// `prefixgate up` with three engines on free ports.
pub(crate) struct Up {
    child: Child,
    /// `http://…` of the gateway.
    pub(crate) gateway: String,
    /// Path prefix of its pool.
    pub(crate) path: String,
    /// `http://…` of the admin API.
    pub(crate) admin: String,
    pub(crate) engines: Vec<String>,
}

/// Builds the binary once and tells where it is.
///
/// # Errors
/// It does not build.
pub(crate) fn binary() -> anyhow::Result<std::path::PathBuf> {
    step(
        "build",
        &mut cargo(&["build", "--package", "prefixgate", "--locked"]),
    )?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map(std::path::PathBuf::from);
    let target = target.unwrap_or_else(|| root().join("target"));
    Ok(target.join("debug/prefixgate"))
}

impl Up {
    /// Starts it and waits for its banner.
    ///
    /// # Errors
    /// It ends before its banner is complete.
    pub(crate) fn start(binary: &std::path::Path, flags: &[&str]) -> anyhow::Result<Self> {
        let mut child = Command::new(binary)
            .args([
                "up",
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                "127.0.0.1:0",
                "--engine-port",
                "0",
            ])
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start `prefixgate up`")?;
        let output = child.stdout.take().context("no standard output")?;
        let mut lines = BufReader::new(output).lines();
        let mut up = Self {
            child,
            gateway: String::new(),
            path: String::new(),
            admin: String::new(),
            engines: Vec::new(),
        };
        while let Some(Ok(line)) = lines.next() {
            up.read(line.trim());
            if line.starts_with("Ctrl-C") {
                // The rest is read so that the child never blocks on a full pipe.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(up);
            }
        }
        bail!("`prefixgate up` ended before it was up")
    }

    fn read(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["OpenAI", "API", url] => self.gateway = url.trim_end_matches("/v1").to_owned(),
            ["same,", "by", "path", url] => {
                self.path = url
                    .trim_start_matches(&self.gateway)
                    .trim_end_matches("/v1")
                    .to_owned();
            }
            ["admin", url, ..] => self.admin = url.trim_end_matches("/admin/state").to_owned(),
            ["engines", "127.0.0.1", _, ports @ ..] => {
                self.engines = ports
                    .iter()
                    .map(|port| format!("http://127.0.0.1:{}", port.trim_end_matches(',')))
                    .collect();
            }
            _ => {}
        }
    }

    /// The variables that tell a Python check where everything is.
    pub(crate) fn variables(&self) -> [(&'static str, String); 5] {
        [
            ("GATEWAY_URL", self.gateway.clone()),
            ("POOL_PATH", self.path.clone()),
            ("ADMIN_URL", self.admin.clone()),
            ("ENGINE_URLS", self.engines.join(",")),
            ("UP_PID", self.child.id().to_string()),
        ]
    }

    /// Sends `signal` and waits for the end.
    ///
    /// # Errors
    /// It does not end in time.
    pub(crate) fn signal(mut self, signal: &str) -> anyhow::Result<std::process::ExitStatus> {
        let sent = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status();
        ensure!(
            sent.is_ok_and(|status| status.success()),
            "cannot signal `prefixgate up`"
        );
        let start = Instant::now();
        while start.elapsed() < STOP_WITHIN {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        bail!(
            "`prefixgate up` was still there {} s after {signal}",
            STOP_WITHIN.as_secs()
        )
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // Ended already: nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
