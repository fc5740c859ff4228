//! Does one long system prompt stay on one replica, and is it found in the cache there?

use benchmark::engines;
use benchmark::load::Answer;
use engine_api::usage::{self, Usage};

use super::Subject;
use super::outcome::Check;
use super::prompts::Prompts;
use super::spread::{Landed, sort};

const ONE_REPLICA: &str = "affinity";
const CACHED: &str = "cached-tokens";
/// vLLM's default, assumed where neither admin state nor metrics tell.
const DEFAULT_BLOCK_TOKENS: u32 = 16;

impl Subject<'_> {
    /// Sends the requests one after another and judges both where they landed and what was cached.
    pub(crate) async fn affinity(&mut self) -> Vec<Check> {
        let asked = usize::from(self.args.repeats);
        let place = format!("{asked} requests with one long system prompt land on one replica");
        let cached = "cached prompt tokens rise after the first of them".to_owned();
        let before = self.fleet.counters().await;
        let prompts = Prompts::new(self.model.as_deref());
        let system = self.args.system_prompt.as_deref();
        let mut results = Vec::with_capacity(asked);
        for index in 0..asked as u64 {
            let body = prompts.with_system(system, index);
            results.push(self.client.post("/v1/chat/completions", body).await);
        }
        let after = self.fleet.counters().await;
        let (answers, failures) = sort(results);
        if let Some(first) = failures.first() {
            let seen = format!(
                "{} of {asked} requests failed, the first with: {first}",
                failures.len()
            );
            let hint = "see pool health, and the gateway's log";
            return vec![
                Check::fail(ONE_REPLICA, place, seen.clone()).hint(hint),
                Check::fail(CACHED, cached, seen).hint(hint),
            ];
        }
        let gains = match (&before, &after) {
            (Ok(Some(before)), Ok(Some(after))) => engines::gains(before, after),
            _ => Vec::new(),
        };
        let counters = after.as_ref().ok().and_then(Clone::clone);
        let landed = Landed::of(&answers, before, after);
        let named = landed
            .as_ref()
            .ok()
            .and_then(|landed| landed.counts.keys().next().cloned());
        let block = self.fleet.block_size_tokens(
            self.model.as_deref(),
            named.as_deref(),
            counters.as_deref(),
        );
        let usages: Vec<Option<Usage>> = answers
            .iter()
            .map(|answer: &Answer| usage::read_body(&answer.body))
            .collect();
        let short = too_short(&usages, block);
        vec![
            one_replica(place, landed, short.as_deref()),
            rises(cached, &usages, &gains, short),
        ]
    }
}

fn one_replica(expected: String, landed: Result<Landed, String>, short: Option<&str>) -> Check {
    let landed = match landed {
        Ok(landed) => landed,
        Err(why) => {
            return Check::skip(ONE_REPLICA, expected, why).hint(
                "give --engines URL,URL (the replicas' own addresses) to tell by their metrics",
            );
        }
    };
    match (landed.counts.len(), short) {
        (1, _) => Check::pass(ONE_REPLICA, expected, landed.show()),
        (_, Some(short)) => Check::skip(ONE_REPLICA, expected, format!("{short}; {}", landed.show())),
        (count, None) => Check::fail(ONE_REPLICA, expected, format!("{count} replicas: {}", landed.show()))
            .hint("routing does not follow the prefix: is prefix-cache-scorer in the profile, with weight?"),
    }
}

/// The sentence, where no prompt could fill a block.
fn too_short(usages: &[Option<Usage>], block: Option<u32>) -> Option<String> {
    let longest = usages
        .iter()
        .flatten()
        .map(|usage| usage.prompt_tokens)
        .max()?;
    let size = block.unwrap_or(DEFAULT_BLOCK_TOKENS);
    // The last token is always computed, so a block plus one token is the least that can be found again.
    (longest <= u64::from(size)).then(|| {
        let assumed = if block.is_none() {
            " (vLLM's default, assumed)"
        } else {
            ""
        };
        format!("too short: {longest} prompt tokens fill no block of {size} tokens{assumed}")
    })
}

fn rises(
    expected: String,
    usages: &[Option<Usage>],
    gains: &[engines::Gain],
    short: Option<String>,
) -> Check {
    if let Some(short) = short {
        return Check::skip(CACHED, expected, short)
            .hint("nothing is wrong with the cache: use a longer system prompt to see it work");
    }
    let cached: Vec<Option<u64>> = usages
        .iter()
        .map(|usage| usage.and_then(|usage| usage.cached_tokens))
        .collect();
    if cached.iter().any(Option::is_some) {
        return by_usage(expected, usages, &cached);
    }
    let hits: f64 = gains.iter().filter_map(|gain| gain.hit_tokens).sum();
    let queried: f64 = gains.iter().filter_map(|gain| gain.queried_tokens).sum();
    if queried == 0.0 {
        return Check::skip(
            CACHED,
            expected,
            "answers report no cached tokens, and no engine metrics are known",
        )
        .hint("start engines with --enable-prompt-tokens-details, or give --engines URL,URL");
    }
    let seen = format!("{hits:.0} of {queried:.0} prompt tokens found (by engine metrics)");
    // All but the first request can hit; half of that leaves room for block borders and other traffic.
    let possible = 1.0 - 1.0 / usages.len().max(2) as f64;
    if hits / queried >= possible / 2.0 {
        Check::pass(CACHED, expected, seen)
    } else {
        Check::fail(CACHED, expected, seen).hint(MISS_HINT)
    }
}

const MISS_HINT: &str =
    "is prefix caching on in the engines, and do these requests stay on one replica (affinity)?";

fn by_usage(expected: String, usages: &[Option<Usage>], cached: &[Option<u64>]) -> Check {
    let first = cached.first().copied().flatten().unwrap_or(0);
    let rose = |cached: &&Option<u64>| cached.is_some_and(|tokens| tokens > first);
    let risen = cached.iter().skip(1).filter(rose).count();
    let list: Vec<String> = cached
        .iter()
        .map(|tokens| tokens.unwrap_or(0).to_string())
        .collect();
    let prompt = usages
        .iter()
        .flatten()
        .map(|usage| usage.prompt_tokens)
        .max()
        .unwrap_or(0);
    let seen = format!(
        "{} of up to {prompt} prompt tokens (by usage)",
        list.join(", ")
    );
    if risen + 1 == cached.len() {
        return Check::pass(CACHED, expected, seen);
    }
    Check::fail(
        CACHED,
        expected,
        format!("{risen} of {} rose: {seen}", cached.len() - 1),
    )
    .hint(MISS_HINT)
}
