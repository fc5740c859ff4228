//! What does each made-up workload share?

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;

use super::{GenerateOptions, Kind, about};
use crate::load::arrivals::{Arrivals, gap_s};
use crate::workload::jobs::{Job, Piece, key};

/// Time an answer takes per token, for the arrival of the next turn: turns are placed beforehand, so that every arm of a
/// comparison meets the same arrivals.
const ASSUMED_TOKEN_S: f64 = 0.02;

/// Tells keys of one use from those of others.
mod uses {
    pub(super) const PREFIX: u64 = 16;
    pub(super) const QUESTION: u64 = 17;
    pub(super) const OUTPUT: u64 = 18;
    pub(super) const DOCUMENT: u64 = 19;
}

/// Makes jobs out of starts.
pub(super) trait Shape: Send {
    /// Requests that one start leads to, on average.
    fn requests_per_start(&self) -> f64;
    /// Something starts now.
    fn start(&mut self, at_s: f64, rng: &mut SmallRng);
    /// When the next request that is known so far comes.
    fn waiting_at_s(&self) -> Option<f64>;
    /// Gives it out.
    fn take(&mut self, rng: &mut SmallRng) -> Option<Job>;
}

pub(super) fn of(options: &GenerateOptions) -> Box<dyn Shape> {
    match options.kind {
        Kind::Chat | Kind::Agent => Box::new(Turns::new(*options)),
        _ => Box::new(Single::new(*options)),
    }
}

/// Requests that stand alone.
struct Single {
    options: GenerateOptions,
    waiting: BinaryHeap<Reverse<Entry<Job>>>,
    started: u64,
    entered: u64,
}

/// Requests of one burst.
const BURST: u32 = 16;

/// Share of requests that begin with the hot prompt.
const HOT_SHARE: f64 = 0.95;

/// Documents in one prompt.
const DOCUMENTS: usize = 3;

/// Exponent of document popularity (Zipf).
const POPULARITY: f64 = 1.0;

impl Single {
    fn new(options: GenerateOptions) -> Self {
        Self {
            options,
            waiting: BinaryHeap::new(),
            started: 0,
            entered: 0,
        }
    }

    fn prefix(&self, group: u64) -> Piece {
        Piece {
            key: key(&[uses::PREFIX, self.options.seed, group]),
            tokens: self.options.prefix_tokens.max(1),
        }
    }

    fn prompt(&self, rng: &mut SmallRng) -> Vec<Piece> {
        let groups = u64::from(self.options.groups.max(1));
        match self.options.kind {
            Kind::Distinct => vec![self.prefix(u64::MAX - self.started)],
            Kind::HotPrefix if rng.random_bool(HOT_SHARE) => vec![self.prefix(0)],
            Kind::HotPrefix => vec![self.prefix(u64::MAX - self.started)],
            Kind::Rag => self.documents(rng),
            _ => vec![self.prefix(rng.random_range(0..groups))],
        }
    }

    /// Common instructions, then some documents in the order of their relevance.
    fn documents(&self, rng: &mut SmallRng) -> Vec<Piece> {
        let tokens = (self.options.prefix_tokens / (DOCUMENTS as u32 + 1)).max(1);
        let mut prompt = vec![Piece {
            key: key(&[uses::PREFIX, self.options.seed, 0]),
            tokens,
        }];
        while prompt.len() <= DOCUMENTS.min(self.options.groups as usize) {
            let document = zipf(self.options.groups.max(1), rng);
            let piece = Piece {
                key: key(&[uses::DOCUMENT, self.options.seed, u64::from(document)]),
                tokens,
            };
            if !prompt.contains(&piece) {
                prompt.push(piece);
            }
        }
        prompt
    }

    fn enter(&mut self, at_s: f64, mut prompt: Vec<Piece>, rng: &mut SmallRng) {
        let session = prompt[prompt.len() - 1].key;
        self.entered += 1;
        prompt.push(Piece {
            key: key(&[uses::QUESTION, self.options.seed, self.entered]),
            tokens: about(self.options.question_tokens, rng),
        });
        let job = Job {
            at: Duration::from_secs_f64(at_s),
            prompt,
            output_tokens: about(self.options.output_tokens, rng),
            output_key: key(&[uses::OUTPUT, self.options.seed, self.entered]),
            session,
        };
        self.waiting.push(Reverse(Entry {
            at_s,
            number: self.entered,
            what: job,
        }));
    }
}

impl Shape for Single {
    fn requests_per_start(&self) -> f64 {
        match self.options.kind {
            Kind::Bursts => f64::from(BURST),
            _ => 1.0,
        }
    }

    fn start(&mut self, at_s: f64, rng: &mut SmallRng) {
        self.started += 1;
        let prompt = self.prompt(rng);
        if self.options.kind == Kind::Bursts {
            for number in 0..BURST {
                self.enter(at_s + f64::from(number) * 0.002, prompt.clone(), rng);
            }
        } else {
            self.enter(at_s, prompt, rng);
        }
    }

    fn waiting_at_s(&self) -> Option<f64> {
        self.waiting.peek().map(|Reverse(entry)| entry.at_s)
    }

    fn take(&mut self, _: &mut SmallRng) -> Option<Job> {
        self.waiting.pop().map(|Reverse(entry)| entry.what)
    }
}

/// Rank `0..n` with chance in inverse proportion to rank + 1, by inversion of the continuous law.
fn zipf(n: u32, rng: &mut SmallRng) -> u32 {
    debug_assert!((POPULARITY - 1.0).abs() < f64::EPSILON);
    let rank = (f64::from(n) + 1.0).powf(rng.random::<f64>());
    (rank as u32).saturating_sub(1).min(n - 1)
}

/// Conversations.
struct Turns {
    options: GenerateOptions,
    waiting: BinaryHeap<Reverse<Entry<Conversation>>>,
    started: u64,
    entered: u64,
}

struct Conversation {
    number: u64,
    history: Vec<Piece>,
    left: u32,
}

impl Turns {
    fn new(options: GenerateOptions) -> Self {
        Self {
            options,
            waiting: BinaryHeap::new(),
            started: 0,
            entered: 0,
        }
    }

    fn agent(&self) -> bool {
        self.options.kind == Kind::Agent
    }

    fn enter(&mut self, at_s: f64, conversation: Conversation) {
        self.entered += 1;
        self.waiting.push(Reverse(Entry {
            at_s,
            number: self.entered,
            what: conversation,
        }));
    }

    fn think_s(&self, rng: &mut SmallRng) -> f64 {
        // A tool answers sooner than a person.
        let mean = self.options.think.as_secs_f64() / if self.agent() { 8.0 } else { 1.0 };
        mean * gap_s(Arrivals::Poisson, rng)
    }
}

impl Shape for Turns {
    fn requests_per_start(&self) -> f64 {
        f64::from(self.options.turns.max(1))
    }

    fn start(&mut self, at_s: f64, rng: &mut SmallRng) {
        self.started += 1;
        // Few kinds of assistant, so their instructions are common to many; a group each otherwise.
        let groups = u64::from(self.options.groups.max(1));
        let prefix = Piece {
            key: key(&[uses::PREFIX, self.options.seed, rng.random_range(0..groups)]),
            tokens: self.options.prefix_tokens.max(1),
        };
        let conversation = Conversation {
            number: self.started,
            history: vec![prefix],
            left: about(self.options.turns.max(1), rng),
        };
        self.enter(at_s, conversation);
    }

    fn waiting_at_s(&self) -> Option<f64> {
        self.waiting.peek().map(|Reverse(entry)| entry.at_s)
    }

    fn take(&mut self, rng: &mut SmallRng) -> Option<Job> {
        let Reverse(Entry {
            at_s,
            number,
            what: mut conversation,
        }) = self.waiting.pop()?;
        let seed = self.options.seed;
        conversation.history.push(Piece {
            key: key(&[uses::QUESTION, seed, number]),
            tokens: about(self.options.question_tokens, rng),
        });
        let output_tokens = about(self.options.output_tokens, rng);
        let job = Job {
            at: Duration::from_secs_f64(at_s),
            prompt: conversation.history.clone(),
            output_tokens,
            output_key: key(&[uses::OUTPUT, seed, number]),
            session: key(&[conversation.number]),
        };
        conversation.left -= 1;
        if conversation.left > 0 {
            conversation.history.push(Piece {
                key: job.output_key,
                tokens: output_tokens,
            });
            let answer_s = f64::from(output_tokens) * ASSUMED_TOKEN_S;
            let next_s = at_s + answer_s + self.think_s(rng);
            self.enter(next_s, conversation);
        }
        Some(job)
    }
}

/// Something at a time; the earliest is the least.
struct Entry<T> {
    at_s: f64,
    number: u64,
    what: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at_s
            .total_cmp(&other.at_s)
            .then(self.number.cmp(&other.number))
    }
}
