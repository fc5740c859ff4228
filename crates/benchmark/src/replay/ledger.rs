//! Was every request served exactly once, and is nothing left behind?
//!
//! The ledger is told what passes at four points and believes nothing else: it shares no state with the run, the routers
//! or the engines. Every checker has a mutation, a fault put in on purpose, that only it notices; the tests run them all.

use std::collections::HashMap;

use clap::ValueEnum;

use super::clock::{Replica, RequestNumber};
use super::router::Books;

/// A fault put into the run to see its checker notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mutation {
    /// A forwarded request never reaches its engine: `nothing lost`.
    LoseRequest,
    /// One response comes back twice: `nothing served twice`.
    ServeTwice,
    /// An engine is left with a request when the run ends: `all drained`.
    StrandWork,
    /// A gateway is never told that one response ended: `no load left`.
    LeakLoad,
    /// Engines report sixteen times the blocks they have: `index within capacity`.
    OverfillIndex,
}

/// What the ledger noticed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Violation {
    pub(crate) checker: &'static str,
    pub(crate) what: String,
}

pub(crate) const NOTHING_LOST: &str = "nothing lost";
pub(crate) const NOTHING_TWICE: &str = "nothing served twice";
pub(crate) const ALL_DRAINED: &str = "all drained";
pub(crate) const NO_LOAD_LEFT: &str = "no load left";
pub(crate) const INDEX_WITHIN: &str = "index within capacity";

/// All checkers, for reports.
pub(crate) const CHECKERS: [&str; 5] = [
    NOTHING_LOST,
    NOTHING_TWICE,
    ALL_DRAINED,
    NO_LOAD_LEFT,
    INDEX_WITHIN,
];

/// Violations kept in words; more are counted.
const MAX_KEPT: usize = 20;

/// Follows every request from arrival to end.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    arrived: u64,
    refused: u64,
    ended: u64,
    /// Sent and not ended: where to.
    open: HashMap<RequestNumber, Replica>,
    violations: Vec<Violation>,
    count: u64,
}

impl Ledger {
    pub(crate) fn arrived(&mut self) {
        self.arrived += 1;
    }

    pub(crate) fn sent(&mut self, number: RequestNumber, replica: Replica) {
        if let Some(other) = self.open.insert(number, replica) {
            self.note(
                NOTHING_TWICE,
                format!(
                    "request {number} was sent to replica {replica} while replica {other} has it"
                ),
            );
        }
    }

    /// The engine did not take it: told to the client, not served.
    pub(crate) fn refused(&mut self, number: RequestNumber) {
        self.open.remove(&number);
        self.refused += 1;
    }

    /// A whole response with `tokens` of `asked` came back from `replica`.
    pub(crate) fn ended(
        &mut self,
        number: RequestNumber,
        replica: Replica,
        tokens: u64,
        asked: u64,
    ) {
        match self.open.remove(&number) {
            None => self.note(
                NOTHING_TWICE,
                format!("replica {replica} answered request {number}, which nobody waits for"),
            ),
            Some(sent) if sent != replica => self.note(
                NOTHING_TWICE,
                format!("replica {replica} answered request {number}, which was sent to {sent}"),
            ),
            Some(_) => self.ended += 1,
        }
        if tokens != asked {
            self.note(
                NOTHING_LOST,
                format!("request {number} got {tokens} of {asked} tokens"),
            );
        }
    }

    /// The index of a gateway, looked at now and then, against what the engines can hold.
    pub(crate) fn index(&mut self, gateway: usize, books: &Books, engines_blocks: u64) {
        let most = books.index_capacity_blocks.unwrap_or(engines_blocks);
        if books.index_blocks > most {
            self.note(
                INDEX_WITHIN,
                format!(
                    "gateway {gateway} holds {} blocks of at most {most}",
                    books.index_blocks
                ),
            );
        }
    }

    /// An engine at the end of the run.
    pub(crate) fn engine(
        &mut self,
        replica: Replica,
        running: usize,
        waiting: usize,
        kv_usage: f64,
    ) {
        if running + waiting > 0 || kv_usage > 0.0 {
            self.note(
                ALL_DRAINED,
                format!("replica {replica} has {running} running, {waiting} waiting, {kv_usage:.3} of its blocks in use"),
            );
        }
    }

    /// A gateway's account at the end of the run.
    pub(crate) fn gateway(&mut self, gateway: usize, books: &Books, engines_blocks: u64) {
        self.index(gateway, books, engines_blocks);
        for left in &books.left_over {
            self.note(NO_LOAD_LEFT, format!("gateway {gateway}, {left}"));
        }
    }

    /// Closes the account.
    pub(crate) fn close(mut self) -> (Vec<Violation>, u64) {
        let mut open: Vec<_> = self.open.keys().copied().collect();
        open.sort_unstable();
        if !open.is_empty() {
            let first: Vec<String> = open.iter().take(5).map(u64::to_string).collect();
            self.note(
                NOTHING_LOST,
                format!(
                    "{} requests never ended, the first: {}",
                    open.len(),
                    first.join(", ")
                ),
            );
        }
        let accounted = self.ended + self.refused + open.len() as u64;
        if accounted != self.arrived {
            self.note(
                NOTHING_LOST,
                format!(
                    "{} requests arrived, {accounted} are accounted for",
                    self.arrived
                ),
            );
        }
        (self.violations, self.count)
    }

    fn note(&mut self, checker: &'static str, what: String) {
        self.count += 1;
        if self.violations.len() < MAX_KEPT {
            self.violations.push(Violation { checker, what });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tell: impl FnOnce(&mut Ledger), expected: &[&str]) {
        let mut ledger = Ledger::default();
        tell(&mut ledger);
        let (violations, _) = ledger.close();
        let seen: Vec<_> = violations
            .iter()
            .map(|violation| violation.checker)
            .collect();
        assert_eq!(seen, expected, "{violations:?}");
    }

    #[test]
    fn each_fault_is_noticed_by_its_checker() {
        let one = |ledger: &mut Ledger| {
            ledger.arrived();
            ledger.sent(1, 0);
        };
        check(
            |ledger| {
                one(ledger);
                ledger.ended(1, 0, 5, 5);
            },
            &[],
        );
        check(one, &[NOTHING_LOST]);
        check(|ledger| ledger.arrived(), &[NOTHING_LOST]);
        check(
            |ledger| {
                one(ledger);
                ledger.ended(1, 0, 5, 5);
                ledger.ended(1, 0, 5, 5);
            },
            &[NOTHING_TWICE],
        );
        check(
            |ledger| {
                one(ledger);
                ledger.ended(1, 0, 4, 5);
            },
            &[NOTHING_LOST],
        );
        check(|ledger| ledger.engine(0, 1, 0, 0.1), &[ALL_DRAINED]);
        let books = Books {
            left_over: vec!["a: 1 active requests".into()],
            index_blocks: 9,
            index_capacity_blocks: Some(8),
        };
        check(
            |ledger| ledger.gateway(0, &books, 100),
            &[INDEX_WITHIN, NO_LOAD_LEFT],
        );
    }
}
