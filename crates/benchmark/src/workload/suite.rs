//! What do the suite's load levels and its cache test ask?

use super::{Body, Prompted, Workload, text};

/// Short, everyday questions; each request adds a few words of its own, so that none is a repetition.
const QUESTIONS: &[&str] = &[
    "Explain in a few sentences how a bicycle stays upright.",
    "Write a short note that thanks a colleague for help with a release.",
    "What is the difference between weather and climate?",
    "Give three tips for reading a long contract.",
    "Describe how bread dough rises.",
    "Summarise what a load balancer does.",
    "Which steps would you take to find a memory leak?",
    "Suggest a name for a small library of sorting routines, and say why.",
];

/// Short prompts of one load level.
#[derive(Clone, Debug)]
pub struct Questions {
    pub model: String,
    pub requests: usize,
    pub output_tokens: u32,
    /// Tells this run's and this level's prompts from all others.
    pub seed: u64,
}

impl Workload for Questions {
    fn len(&self) -> usize {
        self.requests
    }

    fn prompted(&self, index: usize) -> Prompted {
        let own = text::words(&mut text::rng(&[self.seed, index as u64]), 6);
        let prompt = format!("({own}) {}", QUESTIONS[index % QUESTIONS.len()]);
        completion(&self.model, prompt, self.output_tokens)
    }
}

/// One long prompt, again and again.
#[derive(Clone, Debug)]
pub struct Repeated {
    pub model: String,
    pub repetitions: usize,
    pub words: usize,
    pub output_tokens: u32,
    pub seed: u64,
}

impl Workload for Repeated {
    fn len(&self) -> usize {
        self.repetitions
    }

    fn prompted(&self, _index: usize) -> Prompted {
        let text = text::words(&mut text::rng(&[self.seed]), self.words);
        completion(
            &self.model,
            format!("{text}\nSummarise the words above."),
            self.output_tokens,
        )
    }
}

fn completion(model: &str, prompt: String, max_tokens: u32) -> Prompted {
    let body = Body {
        model,
        prompt: prompt.into(),
        max_tokens,
        ignore_eos: false,
    };
    Prompted {
        path: "/v1/completions",
        body: body.streamed(),
        group: 0,
    }
}
