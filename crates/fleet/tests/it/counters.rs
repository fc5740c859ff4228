//! Load never leaks and never goes below zero.

use engine_api::metrics::EngineMetrics;
use fleet::{End, Event, Failure, Outcome, Pick};
use proptest::prelude::*;

use crate::support::*;

#[derive(Clone, Debug)]
enum Step {
    Pick(u8),
    FirstByte(usize),
    Finish(usize, u8),
    Scrape(u8, u32),
    Probe(u8, bool),
    Tick,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<u8>().prop_map(Step::Pick),
        3 => any::<usize>().prop_map(Step::FirstByte),
        3 => (any::<usize>(), 0..6u8).prop_map(|(which, how)| Step::Finish(which, how)),
        1 => (0..3u8, 0..5u32).prop_map(|(which, waiting)| Step::Scrape(which, waiting)),
        1 => (0..3u8, any::<bool>()).prop_map(|(which, ok)| Step::Probe(which, ok)),
        1 => Just(Step::Tick),
    ]
}

fn end(how: u8) -> End {
    match how {
        0 | 1 => End::Complete { status: 200 },
        2 => End::ClientGone,
        3 => End::FailedBeforeFirstByte(Failure::Status(500)),
        4 => End::FailedBeforeFirstByte(Failure::ConnectRefused),
        _ => End::FailedAfterFirstByte(Failure::Reset),
    }
}

proptest! {
    #[test]
    fn all_load_is_given_back(steps in proptest::collection::vec(step(), 1..120)) {
        let names = ["a:1", "b:1", "c:1"];
        let fleet = ready_fleet(&names);
        let slots = names.map(|name| slot(&fleet, name));
        let mut open: Vec<Pick> = Vec::new();
        for (i, step) in steps.into_iter().enumerate() {
            let now = at(i as u64 * 10);
            match step {
                Step::Pick(prompt) => {
                    let chains = [chain(&text(&format!("{}", prompt % 8), 200))];
                    let request = fleet::Request { model: MODEL, chains: &chains, stream: prompt % 2 == 0, ..Default::default() };
                    open.extend(fleet.pick(&request, now, &mut rng()));
                }
                Step::FirstByte(which) if !open.is_empty() => {
                    let which = which % open.len();
                    fleet.first_byte(&mut open[which].reservation, now);
                }
                Step::Finish(which, how) if !open.is_empty() => {
                    let pick = open.swap_remove(which % open.len());
                    fleet.finish(pick.reservation, Outcome { end: end(how), usage: None }, now);
                }
                Step::Scrape(which, waiting) => {
                    let metrics = EngineMetrics { waiting: Some(waiting), ..cache() };
                    scrape(&fleet, slots[usize::from(which)], metrics, now);
                }
                Step::Probe(which, ok) => {
                    let result = if ok { Ok(()) } else { Err("down".to_owned()) };
                    fleet.apply(Event::Probe { slot: slots[usize::from(which)], result }, now);
                }
                Step::Tick => fleet.tick(now),
                Step::FirstByte(_) | Step::Finish(..) => {}
            }
            let held: u64 = fleet.report(now).endpoints.iter().map(|endpoint| endpoint.active_requests).sum();
            prop_assert_eq!(held, open.len() as u64);
        }
        for pick in open {
            fleet.finish(pick.reservation, Outcome { end: End::ClientGone, usage: None }, at(1_000_000));
        }
        for endpoint in fleet.report(at(10_000_000)).endpoints {
            prop_assert_eq!((endpoint.active_requests, endpoint.active_tokens, endpoint.queued_tokens), (0, 0, 0));
        }
    }
}
