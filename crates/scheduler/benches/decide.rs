//! How long does one decision of the default profile take?

use std::collections::BTreeMap;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use kv_index::Slot;
use rand::SeedableRng as _;
use scheduler::{Ask, Candidates, EndpointInfo, Profile, Rng, SchedulingConfig, compile};

/// `n` endpoints with uneven load; every third holds some of the prompt. `spread` false makes all equal.
fn rows(n: usize, spread: bool) -> Candidates {
    let infos = (0..n).map(|i| EndpointInfo {
        slot: Slot::new(i as u16, 0),
        name: format!("endpoint-{i}").into(),
        address: format!("10.0.0.1:{i}").into(),
        labels: BTreeMap::new(),
    });
    let column = |step: usize, modulo: usize| -> Vec<f32> {
        (0..n)
            .map(|i| {
                if spread {
                    ((i * step) % modulo) as f32
                } else {
                    0.0
                }
            })
            .collect()
    };
    Candidates {
        infos: infos.collect(),
        rows: (0..n as u32).collect(),
        queue_requests: column(7, 13),
        running_requests: column(5, 64),
        kv_usage: column(11, 97).into_iter().map(|x| x / 100.0).collect(),
        active_requests: column(3, 17),
        active_tokens: column(977, 9001),
        queued_tokens: column(613, 2111),
        matched_blocks: column(29, 128)
            .into_iter()
            .map(|x| if x > 85.0 { x } else { 0.0 })
            .collect(),
        matched_tokens: column(29, 128)
            .into_iter()
            .map(|x| if x > 85.0 { x * 16.0 } else { 0.0 })
            .collect(),
        prefill_ms_per_token: vec![0.07; n],
        decode_ms_per_token: vec![9.0; n],
        adapters: Vec::new(),
        forecasts: Vec::new(),
        last_pick: (0..n as u64).map(|i| i * 7919 % 104_729).collect(),
    }
}

fn decide(c: &mut Criterion) {
    let ask = Ask {
        model: "m",
        prompt_tokens: 2048.0,
        total_blocks: 128.0,
        ..Ask::default()
    };
    let mut group = c.benchmark_group("decide");
    let mut bench = |name: &str, profile: &Profile, rows: &Candidates| {
        let mut rng = Rng::seed_from_u64(1);
        group.bench_function(BenchmarkId::new(name, rows.len()), |b| {
            b.iter(|| black_box(profile.run(black_box(&ask), black_box(rows), &mut rng)));
        });
    };
    let default = Profile::default_profile();
    for n in [3, 32, 1000] {
        bench("default", &default, &rows(n, true));
    }
    bench("default, all equal", &default, &rows(1000, false));
    if let Ok(turns) = compile(&SchedulingConfig::preset("round-robin"), 0) {
        bench("round-robin", &turns.profile, &rows(1000, true));
    }
    group.finish();
}

criterion_group!(benches, decide);
criterion_main!(benches);
