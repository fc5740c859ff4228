//! Which endpoint takes this request, and what is reserved for it?

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use kv_index::exact::{ExactMatches, Sent, TokenChain};
use kv_index::{BLOCK_BYTES, Chain, Matches, Placement, Slot};
use scheduler::{Ask, Candidates, Decision, NoEndpoint, Rng, Slo};

use crate::forecast::{Booked, Work};
use crate::learn::DEFAULT_BYTES_PER_TOKEN;
use crate::part::Claimed;
use crate::slot_state::micros;
use crate::view::Seat;
use crate::{Fleet, KvMode, Part, SlotState, View};

/// How often a pick is decided anew because load moved at its winner meanwhile. Each time means that another
/// pick or end went through, so the bound is met only by as many threads at once.
pub(crate) const RESCORES: usize = 64;

/// A request, as the fleet sees it.
#[derive(Clone, Debug, Default)]
pub struct Request<'a> {
    /// Model name as the endpoints list it; empty for "any".
    pub model: &'a str,
    /// One chain per prompt; empty when nothing of it can be cached.
    pub chains: &'a [Chain],
    /// The same prompts as tokens ([`Fleet::exact`] hashes them), one each; empty where they are not known. Then
    /// matches rest on our own routing history everywhere.
    pub token_chains: &'a [TokenChain],
    /// Exact prompt length where the body held token ids.
    pub prompt_tokens: Option<u32>,
    /// Expected output, from the body's limit.
    pub max_tokens: Option<u32>,
    /// The response is streamed, so that its first byte tells when prefill ended.
    pub stream: bool,
    /// Headers that plugins asked for ([`Fleet::headers`]), lower case.
    pub headers: &'a [(&'a str, &'a str)],
    /// Endpoints already tried.
    pub exclude: &'a [Slot],
    pub explain: bool,
    /// Of the objective it names; 0 where it names none.
    pub priority: i32,
    /// It holds a picture, a sound or a film.
    pub media: bool,
}

/// Load held at one endpoint for one attempt. Must be given back through [`Fleet::finish`] exactly once.
#[derive(Debug)]
#[must_use = "give it back through Fleet::finish"]
pub struct Reservation {
    pub slot: Slot,
    pub part: Part,
    pub state: Arc<SlotState>,
    pub model: Arc<str>,
    pub stream: bool,
    /// The prompt came as token ids: its stream is four bytes a token whatever the text would be.
    pub token_ids: bool,
    pub picked_at: Duration,
    pub first_byte_at: Option<Duration>,
    /// Estimated, or exact for token ids.
    pub prompt_tokens: u32,
    pub predicted_cached_tokens: u32,
    pub uncached_tokens: u32,
    /// Uncached tokens, and expected output where the scheduling document counts it as load.
    pub load_tokens: u64,
    /// Prompt plus expected output.
    pub context_tokens: u32,
    /// What it is expected to take.
    pub(crate) booked: Booked,
    /// Queued tokens at the endpoint when this was picked, our own not counted.
    pub queued_tokens_before: u64,
    pub placements: Vec<Placement>,
    pub stream_bytes: u64,
    pub matched_blocks: u32,
    /// The prediction rests on the engine's events, not on our own routing history.
    pub exact: bool,
    /// Blocks that the engine will tell of, one for each prompt.
    pub sent: Vec<Sent>,
}

/// A decision whose first preference is reserved.
#[derive(Debug)]
pub struct Pick {
    pub decision: Decision,
    pub reservation: Reservation,
    /// Stages done elsewhere; each is given back through [`Fleet::finish_stage`] at the answer's first byte, or when there
    /// will be none.
    pub beside: Vec<Reservation>,
}

/// A decision that reserved nothing.
#[derive(Debug)]
pub struct Explanation {
    pub decision: Decision,
    pub prompt_tokens: u32,
    /// Of the first preference.
    pub predicted_cached_tokens: u32,
    /// The prompt is known as tokens, so that endpoints in exact mode were matched exactly.
    pub tokenized: bool,
    /// Every candidate and what its match rests on.
    pub kv_modes: Vec<(Slot, KvMode)>,
}

/// What the request weighs, before any endpoint is looked at.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    stream_bytes: u64,
    prompt_tokens: f64,
    bytes_per_token: f64,
    total_blocks: f64,
    /// Learned, and no more than the request allows.
    output_tokens: f64,
    /// Block size for every endpoint, where the scheduling document fixes it.
    fixed_block_tokens: Option<u32>,
    /// Its tokens are known, so that exact matches hold for it.
    tokenized: bool,
    tier_credits: [f32; 3],
    /// Of [`scheduler::LatencyWiring`].
    slo_buffer: f32,
}

/// Buffers that live as long as their thread, so that a pick allocates nothing per endpoint.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(crate) candidates: Candidates,
    matches: Matches,
    exact: ExactMatches,
}

impl Scratch {
    pub(crate) fn found(&self) -> Found<'_> {
        Found {
            approximate: &self.matches,
            exact: &self.exact,
        }
    }
}

/// What was found of one request, in both indexes.
#[derive(Clone, Copy)]
pub(crate) struct Found<'a> {
    approximate: &'a Matches,
    exact: &'a ExactMatches,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Fleet {
    /// Decides and reserves in one step.
    ///
    /// # Errors
    /// [`NoEndpoint`] when no ready, untried endpoint qualifies.
    pub fn pick(
        &self,
        request: &Request<'_>,
        now: Duration,
        rng: &mut Rng,
    ) -> Result<Pick, NoEndpoint> {
        self.with_size(request, |request, size, scratch| {
            let view = self.view.load();
            let profile = self.profile.load();
            for attempt in 0..=RESCORES {
                self.gather(&view, request, size, now, scratch)?;
                let ask = ask(request, size, now);
                if attempt == 0 {
                    profile.admit(&ask, &scratch.candidates, rng)?;
                }
                let mut decision = profile.run(&ask, &scratch.candidates, rng)?;
                let row = row_of(&view, &scratch.candidates, decision.preferences[0]);
                let seat = &view.seats[scratch.candidates.rows[row] as usize];
                let expected = scratch.candidates.active_requests[row] as u64;
                if !claim(&seat.state, expected, attempt == RESCORES) {
                    continue;
                }
                profile.picked(&ask, &scratch.candidates, row);
                let mut beside = Vec::new();
                if !profile.stages().is_empty() {
                    let slot = seat.slot;
                    let claimed = Claimed {
                        view: &view,
                        request,
                        size,
                        slot,
                        now,
                    };
                    (decision.beside, beside) = self.pick_stages(&profile, &claimed, scratch, rng);
                }
                let part = Part::left_by(&decision.beside);
                let reservation = self.reserved(seat, request, size, scratch.found(), part, now);
                return Ok(Pick {
                    decision,
                    reservation,
                    beside,
                });
            }
            Err(NoEndpoint::Exhausted)
        })
    }

    /// Reserves `slot` (a later preference, or a sticky endpoint) without deciding; `None` when it is not
    /// ready or gone.
    pub fn reserve(&self, request: &Request<'_>, slot: Slot, now: Duration) -> Option<Reservation> {
        self.reserve_part(request, slot, Part::Whole, now)
    }

    /// Decides without reserving, recording or sending anything; all candidates' reasons are kept.
    ///
    /// # Errors
    /// As [`Fleet::pick`].
    pub fn explain(
        &self,
        request: &Request<'_>,
        now: Duration,
        rng: &mut Rng,
    ) -> Result<Explanation, NoEndpoint> {
        self.with_size(request, |request, size, scratch| {
            let view = self.view.load();
            self.gather(&view, request, size, now, scratch)?;
            let ask = Ask {
                explain: true,
                ..ask(request, size, now)
            };
            let profile = self.profile.load();
            profile.admit(&ask, &scratch.candidates, rng)?;
            let mut decision = profile.run(&ask, &scratch.candidates, rng)?;
            let row = row_of(&view, &scratch.candidates, decision.preferences[0]);
            decision.beside = self.explain_stages(&profile, &ask, &scratch.candidates, row, rng);
            Ok(Explanation {
                prompt_tokens: size.prompt_tokens as u32,
                predicted_cached_tokens: scratch.candidates.matched_tokens[row] as u32,
                tokenized: size.tokenized,
                kv_modes: modes(&view, &scratch.candidates),
                decision,
            })
        })
    }

    /// Calls `with` with the request as far as it is looked up, its size, and this thread's buffers.
    pub(crate) fn with_size<T>(
        &self,
        request: &Request<'_>,
        with: impl FnOnce(&Request<'_>, Size, &mut Scratch) -> T,
    ) -> T {
        let chains = self.bounded(request.chains);
        let request = &Request {
            chains: &chains,
            ..request.clone()
        };
        SCRATCH.with_borrow_mut(|scratch| with(request, self.size(request), scratch))
    }

    fn size(&self, request: &Request<'_>) -> Size {
        let stream_bytes: u64 = request
            .chains
            .iter()
            .map(|chain| chain.stream_bytes())
            .sum();
        let counted: u32 = request.token_chains.iter().map(TokenChain::tokens).sum();
        let bytes_per_token = match request.prompt_tokens {
            // Token ids enter the stream as four bytes each.
            Some(_) => 4.0,
            None if counted > 0 && stream_bytes > 0 => stream_bytes as f64 / f64::from(counted),
            None => self.ratios.bytes_per_token(request.model),
        };
        let prompt_tokens = request.prompt_tokens.or((counted > 0).then_some(counted));
        let estimate = stream_bytes as f64 / bytes_per_token;
        let prefix = &self.config.wiring.prefix;
        let longest = self.longest_chain().unwrap_or(usize::MAX) as u64;
        let blocks = |chain: &Chain| {
            chain
                .stream_bytes()
                .div_ceil(BLOCK_BYTES as u64)
                .min(longest)
        };
        Size {
            stream_bytes,
            prompt_tokens: prompt_tokens.map_or(estimate, f64::from),
            bytes_per_token,
            total_blocks: request.chains.iter().map(blocks).sum::<u64>() as f64,
            output_tokens: request
                .max_tokens
                .map_or(f64::INFINITY, f64::from)
                .min(self.output_tokens.get()),
            fixed_block_tokens: (!prefix.auto_tune).then_some(prefix.block_size_tokens.max(1)),
            tokenized: counted > 0,
            tier_credits: self.config.tier_credits,
            slo_buffer: self.config.wiring.latency.slo_buffer,
        }
    }

    /// Canonical blocks of a prompt that are looked up at most, where the scheduling document bounds them.
    fn longest_chain(&self) -> Option<usize> {
        let tokens = self.config.wiring.prefix.max_match_tokens?;
        Some(tokens as usize * DEFAULT_BYTES_PER_TOKEN as usize / BLOCK_BYTES)
    }

    /// The chains as far as they are looked up and remembered.
    fn bounded<'c>(&self, chains: &'c [Chain]) -> Cow<'c, [Chain]> {
        let Some(longest) = self.longest_chain() else {
            return Cow::Borrowed(chains);
        };
        if chains.iter().all(|chain| chain.len() <= longest) {
            return Cow::Borrowed(chains);
        }
        Cow::Owned(
            chains
                .iter()
                .map(|chain| chain.truncated(longest))
                .collect(),
        )
    }

    pub(crate) fn look_up(&self, view: &View, request: &Request<'_>, scratch: &mut Scratch) {
        scratch.matches.reset(view.row_of.len());
        scratch.exact.reset(view.row_of.len());
        for chain in request.token_chains {
            self.exact.lookup(chain, &mut scratch.exact);
        }
        for chain in request.chains {
            self.index.lookup(chain, &mut scratch.matches);
        }
    }

    /// Fills the candidate columns with every ready, untried endpoint that serves the model.
    pub(crate) fn gather(
        &self,
        view: &Arc<View>,
        request: &Request<'_>,
        size: Size,
        now: Duration,
        scratch: &mut Scratch,
    ) -> Result<(), NoEndpoint> {
        self.look_up(view, request, scratch);
        let found = Found {
            approximate: &scratch.matches,
            exact: &scratch.exact,
        };
        let columns = &mut scratch.candidates;
        columns.clear();
        columns.infos = Arc::clone(&view.infos);
        let rows = view.rows_for(request.model);
        let tried = |row: &u32| request.exclude.contains(&view.seats[*row as usize].slot);
        columns
            .rows
            .extend(rows.iter().copied().filter(|row| !tried(row)));
        fill(columns, view, size, found, now);
        let profile = self.profile.load();
        if profile.reads_adapters() {
            let states = columns
                .rows
                .iter()
                .map(|row| &view.seats[*row as usize].state);
            let fits = states.map(|state| state.scrape.adapters.lock().fit(request.model));
            columns.adapters.extend(fits);
        }
        if profile.reads_forecasts() {
            for (row, tokens) in columns.rows.iter().zip(&columns.matched_tokens) {
                let forecast = &view.seats[*row as usize].state.forecast;
                let work = Work::of(size.prompt_tokens, f64::from(*tokens));
                let expected = forecast.expected(&self.pool_rates, &work, size.prompt_tokens, now);
                columns.forecasts.push(expected);
            }
        }
        if !columns.is_empty() {
            return Ok(());
        }
        Err(if !rows.is_empty() {
            NoEndpoint::Exhausted
        } else if view.has_ready() {
            NoEndpoint::NoneServesModel {
                pool: self.config.pool.clone(),
                model: request.model.to_owned(),
            }
        } else {
            NoEndpoint::NoneReady {
                pool: self.config.pool.clone(),
            }
        })
    }

    /// Enters the request's blocks in the exact index before its engine tells of them.
    fn expected(
        &self,
        seat: &Seat,
        request: &Request<'_>,
        exact: bool,
        now: Duration,
    ) -> Vec<Sent> {
        if !exact {
            return Vec::new();
        }
        let chains = request.token_chains.iter();
        chains
            .map(|chain| self.exact.send(seat.slot, chain, now))
            .collect()
    }

    /// Books everything but `active_requests`, which [`claim`] has booked already.
    pub(crate) fn reserved(
        &self,
        seat: &Seat,
        request: &Request<'_>,
        size: Size,
        found: Found<'_>,
        part: Part,
        now: Duration,
    ) -> Reservation {
        let state = &seat.state;
        let gauges = &state.gauges;
        let (matched_blocks, cached) = matched(seat, size, found);
        let exact = size.tokenized && seat.exact;
        let prompt_tokens = size.prompt_tokens as u32;
        let cached_tokens = (cached as u32).min(prompt_tokens);
        let uncached_tokens = match part.prefills() {
            true => prompt_tokens - cached_tokens,
            false => 0,
        };
        let max_tokens = request.max_tokens.filter(|_| part.answers());
        let context_tokens =
            prompt_tokens.saturating_add(max_tokens.unwrap_or(0).min(MAX_EXPECTED_OUTPUT_TOKENS));
        let queued_tokens_before = state.tokens_ahead(micros(now)) as u64;
        gauges
            .last_pick
            .store(self.sequence.fetch_add(1, Relaxed) + 1, Relaxed);
        state.picks.fetch_add(1, Relaxed);
        gauges
            .context_tokens
            .fetch_add(u64::from(context_tokens), Relaxed);
        let output_tokens = match part.answers() {
            true => (self.config.wiring.inflight).output_tokens(prompt_tokens, max_tokens),
            false => 0,
        };
        let load_tokens = u64::from(uncached_tokens) + u64::from(output_tokens);
        gauges.active_tokens.fetch_add(load_tokens, Relaxed);
        if request.stream {
            gauges
                .queued_tokens
                .fetch_add(u64::from(uncached_tokens), Relaxed);
        } else {
            state.add_unseen_prefill(uncached_tokens, now);
        }
        Reservation {
            slot: seat.slot,
            part,
            state: Arc::clone(state),
            model: Arc::from(request.model),
            stream: request.stream,
            token_ids: request.prompt_tokens.is_some(),
            picked_at: now,
            first_byte_at: None,
            prompt_tokens,
            predicted_cached_tokens: cached_tokens,
            uncached_tokens,
            load_tokens,
            context_tokens,
            booked: state.forecast.picked(
                &self.pool_rates,
                Work::of(
                    f64::from(prompt_tokens),
                    f64::from(prompt_tokens - uncached_tokens),
                ),
                request.stream,
                u64::from(context_tokens),
                now,
            ),
            queued_tokens_before,
            placements: request
                .chains
                .iter()
                .filter(|_| part.holds_prompt())
                .map(|chain| self.index.place(seat.slot, chain))
                .collect(),
            stream_bytes: size.stream_bytes,
            matched_blocks: matched_blocks as u32,
            exact,
            sent: self.expected(seat, request, exact && part.holds_prompt(), now),
        }
    }
}

/// What each candidate's match rests on, in row order.
fn modes(view: &View, candidates: &Candidates) -> Vec<(Slot, KvMode)> {
    let rows = candidates.rows.iter();
    rows.map(|row| {
        let endpoint = &view.endpoints[*row as usize];
        (endpoint.slot, endpoint.kv_mode.clone())
    })
    .collect()
}

/// Output expected at most when KV use is corrected between scrapes; few requests use a larger limit up.
const MAX_EXPECTED_OUTPUT_TOKENS: u32 = 1024;

/// Adds one request to the endpoint if it still has `expected`, or in any case when `force`.
pub(crate) fn claim(state: &SlotState, expected: u64, force: bool) -> bool {
    if force {
        state.gauges.active_requests.fetch_add(1, Relaxed);
        return true;
    }
    state
        .gauges
        .active_requests
        .compare_exchange(expected, expected + 1, Relaxed, Relaxed)
        .is_ok()
}

pub(crate) fn ask<'a>(request: &Request<'a>, size: Size, now: Duration) -> Ask<'a> {
    Ask {
        model: request.model,
        prompt_tokens: size.prompt_tokens as f32,
        total_blocks: size.total_blocks as f32,
        expected_output_tokens: size.output_tokens as f32,
        headers: request.headers,
        priority: request.priority,
        slo: Slo::told(request.headers, size.slo_buffer),
        media: request.media,
        now,
        explain: request.explain,
    }
}

pub(crate) fn row_of(view: &View, candidates: &Candidates, slot: Slot) -> usize {
    let in_view = view.row_of.get(slot.index()).copied().flatten();
    // Candidates are gathered in the view's order.
    let found = in_view.and_then(|row| candidates.rows.binary_search(&row).ok());
    // A profile orders the rows it was given; a slot from elsewhere is a broken invariant of the scheduler.
    found.unwrap_or_else(|| unreachable!("the profile preferred a slot that was no candidate"))
}

/// Canonical blocks and tokens of the prompt that the endpoint is believed to reuse.
///
/// An engine reuses whole blocks of its own size and always computes at least one token:
/// `floor(min(held, prompt - 1) / block) * block` (vLLM's rule).
///
/// Where its events say what it holds, that counts instead, with what is not in its own memory at its credit.
fn matched(seat: &Seat, size: Size, found: Found<'_>) -> (f64, f64) {
    let gauges = &seat.state.gauges;
    if gauges.prefix_cache_off.load(Relaxed) == 1 {
        return (0.0, 0.0);
    }
    if size.tokenized && seat.exact {
        let held = found.exact.tokens(seat.slot);
        let share = f64::from(held.credited(&size.tier_credits)) / size.prompt_tokens;
        return (size.total_blocks * share, f64::from(held.total()));
    }
    let blocks = f64::from(found.approximate.blocks(seat.slot));
    if blocks == 0.0 {
        return (0.0, 0.0);
    }
    let held_tokens = blocks * BLOCK_BYTES as f64 / size.bytes_per_token;
    let own = || gauges.block_size_tokens();
    let block_tokens = f64::from(size.fixed_block_tokens.unwrap_or_else(own));
    let usable = held_tokens.min(size.prompt_tokens - 1.0).max(0.0);
    (blocks, (usable / block_tokens).floor() * block_tokens)
}

/// Fills every column that a decision may read, one row of `columns.rows` after the other.
///
/// An endpoint's figures are read once and together: their cache lines, not the arithmetic, are the cost.
fn fill(columns: &mut Candidates, view: &View, size: Size, found: Found<'_>, now: Duration) {
    let now_us = micros(now);
    columns.widen();
    let rows = columns.rows.len();
    let [queue, running, kv, active] = [
        &mut columns.queue_requests[..rows],
        &mut columns.running_requests[..rows],
        &mut columns.kv_usage[..rows],
        &mut columns.active_requests[..rows],
    ];
    let [tokens, queued, blocks, matched_tokens] = [
        &mut columns.active_tokens[..rows],
        &mut columns.queued_tokens[..rows],
        &mut columns.matched_blocks[..rows],
        &mut columns.matched_tokens[..rows],
    ];
    let prefill = &mut columns.prefill_ms_per_token[..rows];
    let decode = &mut columns.decode_ms_per_token[..rows];
    let last_pick = &mut columns.last_pick[..rows];
    for (at, row) in columns.rows.iter().enumerate() {
        let seat = &view.seats[*row as usize];
        let gauges = &seat.state.gauges;
        let (held_blocks, held_tokens) = matched(seat, size, found);
        queue[at] = gauges.queue_requests() as f32;
        running[at] = gauges.running.load(Relaxed) as f32;
        kv[at] = gauges.kv_usage() as f32;
        active[at] = gauges.active_requests.load(Relaxed) as f32;
        tokens[at] = gauges.active_tokens.load(Relaxed) as f32;
        queued[at] = seat.state.tokens_ahead(now_us) as f32;
        blocks[at] = held_blocks as f32;
        matched_tokens[at] = held_tokens as f32;
        prefill[at] = gauges.prefill_ms_per_token() as f32;
        decode[at] = gauges.decode_ms_per_token.get() as f32;
        last_pick[at] = gauges.last_pick.load(Relaxed);
    }
}
