//! Is the prefix index written in every pool, however many there are?

use std::time::Duration;

use fleet::{End, Fleet, Outcome, Request};
use kv_index::{ChainHasher, HashSeed, Namespace};

use crate::support::{Engine, Running, config, start, wait_until};

const POOLS: usize = 3;

/// Sends a prompt of `blocks` blocks to the first endpoint, and has it answered.
fn answered(fleet: &Fleet, blocks: usize) {
    let mut hasher = ChainHasher::new(HashSeed(7), Namespace::default());
    hasher.update(&vec![b'x'; 64 * blocks]);
    let chains = [hasher.finish()];
    let request = Request {
        chains: &chains,
        ..Request::default()
    };
    let slot = fleet.view().endpoints[0].slot;
    let mut reservation = fleet.reserve(&request, slot, Duration::ZERO).unwrap();
    fleet.first_byte(&mut reservation, Duration::ZERO);
    let outcome = Outcome {
        end: End::Complete { status: 200 },
        usage: None,
    };
    fleet.finish(reservation, outcome, Duration::ZERO);
}

async fn all_hold(pools: &[Running], blocks: u64) {
    for pool in pools {
        let held = || pool.fleet.report(Duration::ZERO).index_blocks;
        wait_until("its index is written", || held() == blocks).await;
    }
}

/// With a single thread for what blocks, no pool may keep it while another has work; one that was idle is awoken.
#[test]
fn every_pool_writes_its_index_though_there_are_more_pools_than_threads() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let engine = Engine::start().await;
        let mut pools = Vec::new();
        for _ in 0..POOLS {
            let running = start(&config(&[engine.url()])).await;
            wait_until("ready", || running.is_ready(&engine)).await;
            pools.push(running);
        }
        for blocks in [3, 5] {
            for pool in &pools {
                answered(&pool.fleet, blocks);
            }
            all_hold(&pools, blocks as u64).await;
        }
        for pool in &pools {
            pool.stop().await;
        }
    });
}
