//! Which address does a pod get?
//!
//! All of 127.0.0.0/8 is this machine, so each pod has an address of its own and listens on the port its manifest
//! says, as on a cluster's network.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};

use parking_lot::Mutex;

/// Addresses of this process that pods hold.
static HELD: Mutex<BTreeSet<Ipv4Addr>> = Mutex::new(BTreeSet::new());

/// Addresses tried: two bytes of the range are this process's own.
const TRIED: u32 = 2_000;

/// An address on which nobody listens; given back when dropped.
#[derive(Debug)]
pub(super) struct PodAddress(pub(super) Ipv4Addr);

impl PodAddress {
    pub(super) fn take() -> Option<Self> {
        let process = std::process::id();
        let mut held = HELD.lock();
        for number in 0..TRIED {
            let place = process.wrapping_add(number / 250);
            let second = 64 + u8::try_from((place >> 8) & 0x7f).unwrap_or(0);
            let third = u8::try_from(place & 0xff).unwrap_or(0);
            let fourth = u8::try_from(number % 250 + 2).unwrap_or(2);
            let address = Ipv4Addr::new(127, second, third, fourth);
            // Another process may have come to the same range; the usual port tells.
            if !held.contains(&address) && TcpListener::bind((address, 8000)).is_ok() {
                held.insert(address);
                return Some(Self(address));
            }
        }
        None
    }
}

impl Drop for PodAddress {
    fn drop(&mut self) {
        HELD.lock().remove(&self.0);
    }
}
