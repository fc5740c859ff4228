//! Which metrics of a page are wanted, and what for?

use crate::dialect::Dialect;

/// What a metric is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Waiting,
    Running,
    KvUsage,
    PrefixQueries,
    PrefixHits,
    PromptTokens,
    GenerationTokens,
    Preemptions,
    BlockSize,
    NumBlocks,
    Awake,
    ProcessStart,
    CacheInfo,
    LoraInfo,
}

/// How many kinds of [`What`] are plain values.
pub(super) const VALUES: usize = What::ProcessStart as usize + 1;

/// One way to name a metric: `name` or `name{label=value}`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spec<'d> {
    pub(super) name: &'d [u8],
    pub(super) label: Option<(&'d str, &'d str)>,
    /// Place among the names for the same thing; lower ones are preferred.
    pub(super) rank: usize,
}

/// All specs of a dialect, with a quick look for those that cannot be.
pub(super) struct Wanted<'d> {
    specs: Vec<(What, Spec<'d>)>,
    /// Bit n: some name has n bytes.
    lengths: u128,
}

impl<'d> Wanted<'d> {
    pub(super) fn of(dialect: &'d Dialect) -> Self {
        let mut wanted = Self {
            specs: Vec::with_capacity(24),
            lengths: 0,
        };
        let values = [
            (What::Waiting, dialect.waiting),
            (What::Running, dialect.running),
            (What::KvUsage, dialect.kv_usage),
            (What::PrefixQueries, dialect.prefix_queries),
            (What::PrefixHits, dialect.prefix_hits),
            (What::PromptTokens, dialect.prompt_tokens),
            (What::GenerationTokens, dialect.generation_tokens),
            (What::Preemptions, dialect.preemptions),
            (What::BlockSize, dialect.block_size),
            (What::NumBlocks, dialect.num_blocks),
            (What::Awake, dialect.awake),
            (What::ProcessStart, &["process_start_time_seconds"]),
        ];
        for (what, names) in values {
            for (rank, name) in names.iter().enumerate() {
                wanted.add(what, name, rank);
            }
        }
        if let Some(info) = &dialect.cache_info {
            wanted.add(What::CacheInfo, info.metric, 0);
        }
        if let Some(info) = &dialect.lora_info {
            wanted.add(What::LoraInfo, info.metric, 0);
        }
        wanted
    }

    fn add(&mut self, what: What, written: &'d str, rank: usize) {
        let spec = Spec::parse(written, rank);
        self.lengths |= 1 << spec.name.len().min(127);
        self.specs.push((what, spec));
    }

    /// Whether a name of `len` bytes can be wanted.
    #[inline]
    pub(super) fn may_have(&self, len: usize) -> bool {
        self.lengths >> len.min(127) & 1 == 1
    }

    /// Calls `found` for each spec that is called `name`.
    pub(super) fn each(&self, name: &[u8], mut found: impl FnMut(What, &Spec<'d>)) {
        for (what, spec) in &self.specs {
            if spec.name == name {
                found(*what, spec);
            }
        }
    }
}

impl<'d> Spec<'d> {
    /// Reads `name` or `name{label=value}`; quotes around the value and a counter's `_total` do not matter.
    fn parse(written: &'d str, rank: usize) -> Self {
        let (name, label) = match written.split_once('{') {
            Some((name, inside)) => (name, inside.trim_end_matches('}').split_once('=')),
            None => (written, None),
        };
        let name = name.trim();
        Self {
            name: name.strip_suffix("_total").unwrap_or(name).as_bytes(),
            label: label.map(|(key, value)| (key.trim(), value.trim().trim_matches('"'))),
            rank,
        }
    }
}
