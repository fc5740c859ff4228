//! What does someone who just typed `up` need to see?

use std::fmt::Write;
use std::net::SocketAddr;

pub(crate) struct Banner<'a> {
    pub(crate) listen: SocketAddr,
    pub(crate) admin_listen: SocketAddr,
    pub(crate) path: &'a str,
    pub(crate) model: &'a str,
    pub(crate) engine_ports: &'a [u16],
    /// `None` for engines of the user's own.
    pub(crate) accelerator: Option<&'a str>,
    /// The scheduling profile in one line.
    pub(crate) profile: &'a str,
}

impl Banner<'_> {
    pub(crate) fn text(&self) -> String {
        let (gateway, admin) = (
            format!("http://{}", self.listen),
            format!("http://{}", self.admin_listen),
        );
        let engines = self.engine_ports.len();
        let plural = if engines == 1 { "" } else { "s" };
        let ports: Vec<_> = self.engine_ports.iter().map(u16::to_string).collect();
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "\nprefixgate is up: {engines} replica{plural} of {} behind one address\n",
            self.model
        );
        let _ = writeln!(text, "  OpenAI API   {gateway}/v1");
        let _ = writeln!(text, "  same, by path {gateway}{}/v1", self.path);
        let _ = writeln!(
            text,
            "  admin        {admin}/admin/state   metrics {admin}/metrics"
        );
        let _ = writeln!(
            text,
            "  engines      127.0.0.1 port{plural} {}",
            ports.join(", ")
        );
        let _ = match self.accelerator {
            Some(name) => writeln!(
                text,
                "               times are SIMULATED (profile {name}), text is filler; cache and batching are real"
            ),
            None => writeln!(text, "               started by your own command"),
        };
        let _ = writeln!(text, "  scheduling   {}", self.profile);
        let _ = writeln!(text, "\nTry it:\n");
        let _ = writeln!(
            text,
            "  curl {gateway}/v1/chat/completions -H 'content-type: application/json' \\"
        );
        let _ = writeln!(
            text,
            "    -d '{{\"model\":\"{}\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}],\"max_tokens\":20}}'",
            self.model
        );
        let _ = writeln!(text, "  prefixgate verify --url {gateway}");
        let _ = writeln!(text, "\nCtrl-C drains and stops everything.");
        text
    }
}
