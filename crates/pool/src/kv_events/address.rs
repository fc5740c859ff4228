//! Which socket does a ZeroMQ endpoint name?

use std::fmt;
use std::path::PathBuf;

/// A socket to connect to or to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// Host without brackets; `*` for every address of this machine.
    Tcp(String, u16),
    Ipc(PathBuf),
}

const FORM: &str = "must be of the form tcp://HOST:PORT or ipc://PATH";

impl Address {
    /// Reads `tcp://host:port` or `ipc://path`; the error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("ipc://") {
            if path.is_empty() {
                return Err(FORM.to_owned());
            }
            return Ok(Self::Ipc(PathBuf::from(path)));
        }
        let rest = text.strip_prefix("tcp://").ok_or(FORM)?;
        let (host, port) = rest.rsplit_once(':').ok_or(FORM)?;
        let host = host.trim_matches(['[', ']']);
        let port: u16 = port
            .parse()
            .map_err(|_| format!("has no port from 0 to 65535; it {FORM}"))?;
        if host.is_empty() {
            return Err(FORM.to_owned());
        }
        Ok(Self::Tcp(host.to_owned(), port))
    }

    /// As the engine at `host` means it: its wildcards stand for itself.
    pub(crate) fn seen_from_outside(self, host: &str) -> Self {
        match self {
            Self::Tcp(_, port) if self.is_wildcard() => {
                Self::Tcp(host.trim_matches(['[', ']']).to_owned(), port)
            }
            other => other,
        }
    }

    /// Whether it is every address of a machine, so nothing to connect to.
    pub(crate) fn is_wildcard(&self) -> bool {
        matches!(self, Self::Tcp(host, _) if matches!(host.as_str(), "*" | "0.0.0.0" | "::"))
    }

    /// The address of a data-parallel rank: its number is added to the port.
    pub(crate) fn of_rank(self, rank: u32) -> Result<Self, String> {
        match self {
            Self::Tcp(host, port) if rank > 0 => {
                let moved = u32::from(port).checked_add(rank);
                let moved = moved.and_then(|port| u16::try_from(port).ok());
                let moved = moved.ok_or(format!("port {port} plus rank {rank} is beyond 65535"))?;
                Ok(Self::Tcp(host, moved))
            }
            other => Ok(other),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "tcp://{host}:{port}"),
            Self::Ipc(path) => write!(f, "ipc://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_and_wildcards() {
        let check = |text: &str, rank, expected: &str| {
            let address = Address::parse(text).unwrap().seen_from_outside("10.0.0.7");
            assert_eq!(address.of_rank(rank).unwrap().to_string(), expected);
        };
        check("tcp://*:5557", 0, "tcp://10.0.0.7:5557");
        check("tcp://[::]:5557", 2, "tcp://10.0.0.7:5559");
        check("tcp://0.0.0.0:5557", 0, "tcp://10.0.0.7:5557");
        check("tcp://[fe80::1]:1", 1, "tcp://[fe80::1]:2");
        check("ipc:///a b", 3, "ipc:///a b");
        assert!(Address::parse("tcp://a:65535").unwrap().of_rank(1).is_err());
        for wrong in [
            "",
            "tcp://a",
            "tcp://:1",
            "tcp://a:x",
            "ipc://",
            "inproc://a",
        ] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
    }
}
