//! Does a profile add up scores as documented?

use rand::SeedableRng as _;

use super::*;
use crate::Raw;
use crate::picker::max_score::{self, MaxScore};

/// Says what it was told to say.
struct Given(Vec<f32>);

impl Scorer for Given {
    fn score(&self, _: &Ask<'_>, _: &Candidates, _: &[bool], out: &mut [f32]) {
        out.copy_from_slice(&self.0);
    }

    fn raw(&self, _: &Ask<'_>, _: &Candidates, row: usize) -> Raw {
        Raw {
            value: f64::from(self.0[row]),
            unit: "given",
        }
    }
}

fn rows(n: u16) -> Candidates {
    let info = |index| EndpointInfo {
        slot: kv_index::Slot::new(index, 0),
        name: format!("e{index}").into(),
        address: "".into(),
        labels: std::collections::BTreeMap::new(),
    };
    Candidates {
        infos: (0..n).map(info).collect(),
        rows: (0..u32::from(n)).collect(),
        last_pick: vec![0; usize::from(n)],
        ..Candidates::default()
    }
}

fn check(scores: [[f32; 3]; 3], expected: [f32; 3]) {
    let columns = [("prefix", 3.0, 0), ("queue", 1.0, 1), ("kv", 1.0, 2)];
    let scorers = columns.map(|(name, weight, column)| Weighted {
        scorer: Named {
            name: name.into(),
            plugin: Box::new(Given(scores.map(|row| row[column]).to_vec())),
        },
        weight,
    });
    let picker = MaxScore::new(&max_score::Params::default(), 0).unwrap();
    let picker = Named {
        name: "p".into(),
        plugin: Box::new(picker) as Box<dyn Picker>,
    };
    let profile = Profile::new("given".into(), Vec::new(), scorers.into(), picker);
    let ask = Ask {
        explain: true,
        ..Ask::default()
    };
    let decision = profile
        .run(&ask, &rows(3), &mut Rng::seed_from_u64(0))
        .unwrap();
    for (reason, total) in decision.reasons.iter().zip(expected) {
        assert!(
            (reason.total - total).abs() < 1e-5,
            "{} against {total}",
            reason.total
        );
    }
    assert_eq!(decision.preferences[0].index(), 0);
}

#[test]
fn given_scores_of_the_documented_example_give_its_totals() {
    check(
        [[0.9, 0.7, 0.8], [0.1, 0.9, 0.9], [0.0, 0.8, 0.7]],
        [4.2, 2.1, 1.5],
    );
}

#[test]
fn scores_out_of_range_count_as_the_nearest_in_range() {
    check(
        [
            [7.0, 1.0, 1.0],
            [f32::NAN, -1.0, f32::NEG_INFINITY],
            [0.0, 0.0, 0.0],
        ],
        [5.0, 0.0, 0.0],
    );
}
