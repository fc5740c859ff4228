//! Does the request itself name its endpoints?
//!
//! For conformance suites, which must know beforehand where a request ends up.

use crate::{Ask, Candidates, Filter, Rng};

/// Request header with a comma list of addresses, each with or without a port.
const HEADER: &str = "test-epp-endpoint-selection";

/// `header-based-testing-filter`: the named endpoints stay; a request that names none is left alone.
pub(crate) struct HeaderSteering {
    headers: [String; 1],
}

impl HeaderSteering {
    pub(crate) fn new() -> Self {
        Self {
            headers: [HEADER.to_owned()],
        }
    }
}

/// The part of `host:port` before its port, without the brackets of IPv6.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_matches(['[', ']'])
}

fn named(list: &str, address: &str) -> bool {
    let mut names = list.split(',').map(str::trim);
    names.any(|name| name == address || name.trim_matches(['[', ']']) == host(address))
}

fn list<'a>(ask: &Ask<'a>) -> Option<&'a str> {
    ask.header(HEADER).filter(|list| !list.trim().is_empty())
}

impl Filter for HeaderSteering {
    fn filter(&self, ask: &Ask<'_>, candidates: &Candidates, _rng: &mut Rng, keep: &mut [bool]) {
        let Some(list) = list(ask) else { return };
        for (row, kept) in keep.iter_mut().enumerate() {
            *kept = *kept && named(list, &candidates.info(row).address);
        }
    }

    fn reason(
        &self,
        ask: &Ask<'_>,
        candidates: &Candidates,
        _before: &[bool],
        row: usize,
    ) -> String {
        let address = &candidates.info(row).address;
        format!("{address} is not among `{}`", list(ask).unwrap_or_default())
    }

    fn headers(&self) -> &[String] {
        &self.headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_addresses_with_or_without_a_port() {
        let check = |list: &str, address: &str, expected: bool| {
            assert_eq!(named(list, address), expected, "{list} {address}");
        };
        check("10.0.0.1", "10.0.0.1:8000", true);
        check("10.0.0.9, 10.0.0.1:8000", "10.0.0.1:8000", true);
        check("10.0.0.1:8001", "10.0.0.1:8000", false);
        check("10.0.0.1", "10.0.0.10:8000", false);
        check("fd00::1", "[fd00::1]:8000", true);
        check("[fd00::1]:8000", "[fd00::1]:8000", true);
        check("", "10.0.0.1:8000", false);
    }
}
