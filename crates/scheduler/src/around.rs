//! What does a document say beside the profile that runs?

use crate::profile::Named;
use crate::{Admitter, Ask, Candidates, NoEndpoint, Profile, Rng, Stage};

/// Everything around a profile.
#[derive(Default)]
pub(crate) struct Around {
    /// All must accept.
    pub(crate) admitters: Vec<Named<dyn Admitter>>,
    pub(crate) stages: Vec<Stage>,
    pub(crate) choice: Option<Choice>,
}

/// Profiles of which a request header names the one that runs.
pub(crate) struct Choice {
    /// Lower case.
    pub(crate) header: String,
    /// Beside the one that they stand around.
    pub(crate) others: Vec<Profile>,
}

impl Around {
    pub(crate) fn headers(&self) -> Vec<String> {
        let of_stages = self.stages.iter().flat_map(|stage| stage.profile.headers());
        let of_admitters = self.admitters.iter().flat_map(|a| a.plugin.headers());
        let of_choices = self.choices().flat_map(|profile| profile.headers());
        let own = self.choice.iter().map(|choice| &choice.header);
        of_stages
            .chain(of_admitters)
            .chain(of_choices)
            .chain(own)
            .cloned()
            .collect()
    }

    pub(crate) fn choices(&self) -> impl Iterator<Item = &Profile> {
        self.choice.iter().flat_map(|choice| &choice.others)
    }

    /// The profile that the request names; `None` for the one in the middle.
    pub(crate) fn chosen(&self, ask: &Ask<'_>) -> Option<&Profile> {
        let choice = self.choice.as_ref()?;
        let named = ask.header(&choice.header)?.trim();
        choice.others.iter().find(|profile| profile.name() == named)
    }

    pub(crate) fn admit(
        &self,
        ask: &Ask<'_>,
        candidates: &Candidates,
        rng: &mut Rng,
    ) -> Result<(), NoEndpoint> {
        for admitter in &self.admitters {
            let admitted = admitter.plugin.admit(ask, candidates, rng);
            admitted.map_err(|why| NoEndpoint::NotAdmitted {
                admitter: admitter.name.to_string(),
                why,
            })?;
        }
        Ok(())
    }

    /// Every profile around.
    fn profiles(&self) -> impl Iterator<Item = &Profile> {
        let of_stages = self.stages.iter().map(|stage| &stage.profile);
        of_stages.chain(self.choices())
    }

    pub(crate) fn reads_prefix(&self) -> bool {
        self.profiles().any(Profile::reads_prefix)
            || self.admitters.iter().any(|a| a.plugin.reads_prefix())
            || self.stages.iter().any(|s| s.decider.plugin.reads_prefix())
    }

    pub(crate) fn reads_scrape(&self) -> bool {
        self.profiles().any(Profile::reads_scrape)
            || self.admitters.iter().any(|a| a.plugin.reads_scrape())
    }

    pub(crate) fn reads_adapters(&self) -> bool {
        self.profiles().any(Profile::reads_adapters)
    }

    pub(crate) fn reads_forecasts(&self) -> bool {
        self.profiles().any(Profile::reads_forecasts)
            || self.admitters.iter().any(|a| a.plugin.reads_forecasts())
    }
}
