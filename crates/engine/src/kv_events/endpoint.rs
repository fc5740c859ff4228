//! Does a socket bind here or connect there, and where exactly?
//!
//! vLLM's rule: an endpoint with `*` or `::` in it, or of `ipc://`, is bound; any other is connected to, so that one
//! consumer can bind for many engines. Rank r of a data-parallel engine adds r to a TCP port.

use std::net::{IpAddr, TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;

use anyhow::{Context, bail};

/// A socket to be, its port taken already.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) listener: zeromq::Listener,
    /// Where it can be reached, as told to consumers.
    pub(super) endpoint: String,
    /// Removed when dropped.
    pub(super) _file: Option<SocketFile>,
}

/// The file of a Unix socket.
#[derive(Debug)]
pub(super) struct SocketFile(String);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Whether the PUB socket binds.
pub(super) fn binds(endpoint: &str) -> bool {
    endpoint.contains('*') || endpoint.contains("::") || endpoint.starts_with("ipc://")
}

/// The endpoint of rank `rank`.
///
/// # Errors
/// Not an address that rank can be added to.
pub(super) fn of_rank(endpoint: &str, rank: u32) -> anyhow::Result<String> {
    if let Some(path) = endpoint.strip_prefix("ipc://") {
        if rank > 0 {
            bail!(
                "{endpoint}: data-parallel rank {rank} needs a tcp:// endpoint, to add itself to the port"
            );
        }
        if path.is_empty() {
            bail!("{endpoint}: expected ipc://PATH");
        }
        return Ok(endpoint.to_owned());
    }
    let (host, port) = host_and_port(endpoint)?;
    if rank == 0 || port == 0 {
        return Ok(endpoint.to_owned());
    }
    let Some(port) = u16::try_from(rank)
        .ok()
        .and_then(|rank| port.checked_add(rank))
    else {
        bail!("{endpoint}: port {port} plus data-parallel rank {rank} is beyond 65535");
    };
    Ok(format!("tcp://{host}:{port}"))
}

fn host_and_port(endpoint: &str) -> anyhow::Result<(&str, u16)> {
    let form = || format!("{endpoint}: expected tcp://HOST:PORT, tcp://*:PORT or ipc://PATH");
    let address = endpoint.strip_prefix("tcp://").with_context(form)?;
    let (host, port) = address.rsplit_once(':').with_context(form)?;
    let port = port.parse().ok().with_context(form)?;
    if host.is_empty() {
        bail!("{}", form());
    }
    Ok((host, port))
}

/// Takes the address, so that a mistake is told at start. `tcp://*:0` takes a free port of `own`, the address that the
/// engine's HTTP side listens on, and is told with that port.
///
/// # Errors
/// It cannot be listened on; the message says why.
pub(super) fn bind(endpoint: &str, own: &str) -> anyhow::Result<Bound> {
    if let Some(path) = endpoint.strip_prefix("ipc://") {
        return bind_file(endpoint, path);
    }
    let (host, port) = host_and_port(endpoint)?;
    let host = host.trim_matches(['[', ']']);
    let host = match host {
        "*" if port == 0 => &node_address(own)?.to_string(),
        "*" => "0.0.0.0",
        host => host,
    };
    let listener =
        TcpListener::bind((host, port)).with_context(|| format!("cannot listen on {endpoint}"))?;
    let endpoint = match port {
        0 => format!("tcp://{}", listener.local_addr()?),
        _ => endpoint.to_owned(),
    };
    Ok(Bound {
        listener: listener.into(),
        endpoint,
        _file: None,
    })
}

fn bind_file(endpoint: &str, path: &str) -> anyhow::Result<Bound> {
    // What a process that was killed left behind is nobody's.
    if std::os::unix::net::UnixStream::connect(path)
        .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    {
        let _ = std::fs::remove_file(path);
    }
    let listener =
        UnixListener::bind(path).with_context(|| format!("cannot listen on {endpoint}"))?;
    Ok(Bound {
        listener: listener.into(),
        endpoint: endpoint.to_owned(),
        _file: Some(SocketFile(path.to_owned())),
    })
}

/// An address of this machine that others can use: `own`, or where that is every address, the one that packets to
/// elsewhere would leave by.
fn node_address(own: &str) -> anyhow::Result<IpAddr> {
    let own: Option<IpAddr> = match own {
        "localhost" => Some(IpAddr::from([127, 0, 0, 1])),
        own => own.parse().ok(),
    };
    match own {
        Some(own) if !own.is_unspecified() => Ok(own),
        _ => {
            // Nothing is sent: connecting a datagram socket only chooses a route.
            let socket = UdpSocket::bind(("0.0.0.0", 0))?;
            let routed = socket
                .connect(("192.0.2.1", 9))
                .and_then(|()| socket.local_addr());
            Ok(routed.map_or(IpAddr::from([127, 0, 0, 1]), |address| address.ip()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_and_files_are_bound() {
        for (endpoint, expected) in [
            ("tcp://*:5557", true),
            ("tcp://[::]:5557", true),
            ("tcp://[::1]:5557", true),
            ("ipc:///tmp/x", true),
            ("tcp://127.0.0.1:5557", false),
            ("tcp://0.0.0.0:5557", false),
            ("tcp://router:5557", false),
        ] {
            assert_eq!(binds(endpoint), expected, "{endpoint}");
        }
    }

    #[test]
    fn ranks_are_added_to_ports() {
        let check = |endpoint: &str, rank, expected: Result<&str, &str>| match (
            of_rank(endpoint, rank),
            expected,
        ) {
            (Ok(got), Ok(expected)) => assert_eq!(got, expected),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (got, expected) => panic!("{endpoint}: {got:?} instead of {expected:?}"),
        };
        check("tcp://*:5557", 0, Ok("tcp://*:5557"));
        check("tcp://*:5557", 3, Ok("tcp://*:5560"));
        check("tcp://[::1]:1", 3, Ok("tcp://[::1]:4"));
        check("tcp://*:0", 3, Ok("tcp://*:0"));
        check("ipc:///tmp/x", 0, Ok("ipc:///tmp/x"));
        check("ipc:///tmp/x", 1, Err("needs a tcp:// endpoint"));
        check("tcp://*:65535", 1, Err("beyond 65535"));
        for wrong in ["udp://*:1", "tcp://*", "tcp://*:x", "tcp://:1", ""] {
            check(wrong, 0, Err("expected tcp://HOST:PORT"));
        }
    }

    #[test]
    fn a_free_port_is_one_of_the_engines_own_address() {
        let bound = bind("tcp://*:0", "127.0.0.1").unwrap();
        let (_, port) = bound.endpoint.split_once("tcp://127.0.0.1:").unwrap();
        assert_ne!(port, "0");
        let error = bind(&format!("tcp://127.0.0.1:{port}"), "127.0.0.1").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("cannot listen on tcp://127.0.0.1")
        );
    }

    #[test]
    fn a_file_left_behind_is_taken_over_and_ones_own_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let endpoint = format!("ipc://{}", path.display());
        drop(UnixListener::bind(&path).unwrap());
        let bound = bind(&endpoint, "").unwrap();
        assert!(bind(&endpoint, "").is_err(), "in use");
        drop(bound);
        assert!(!path.exists());
    }
}
