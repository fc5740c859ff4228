//! Does the endpoint carry the label value that the request names?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units;
use crate::config::{ParamError, params};
use crate::headers::header_name;
use crate::{Ask, Candidates, Raw, Scorer};

/// Parameters of `header-label-affinity-scorer`; both are needed.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Params {
    /// Request header whose value is compared.
    pub(crate) header_name: String,
    /// Endpoint label it is compared with.
    pub(crate) label_key: String,
}

impl params::Params for Params {}

/// `header-label-affinity-scorer`: 1 where the label equals the header, else 0.
pub(crate) struct HeaderLabel {
    header: [String; 1],
    label: String,
}

impl HeaderLabel {
    pub(crate) fn new(params: &Params) -> Result<Self, ParamError> {
        if params.label_key.is_empty() {
            return Err(ParamError::new("labelKey", "names the label to compare"));
        }
        Ok(Self {
            header: [header_name("headerName", &params.header_name)?],
            label: params.label_key.clone(),
        })
    }

    fn matches(&self, ask: &Ask<'_>, candidates: &Candidates, row: usize) -> bool {
        let wanted = ask.header(&self.header[0]);
        let label = candidates.info(row).labels.get(&self.label);
        wanted.is_some_and(|wanted| label.is_some_and(|label| label == wanted))
    }
}

impl Scorer for HeaderLabel {
    fn score(&self, ask: &Ask<'_>, candidates: &Candidates, _keep: &[bool], out: &mut [f32]) {
        for (row, score) in out.iter_mut().enumerate() {
            *score = f32::from(u8::from(self.matches(ask, candidates, row)));
        }
    }

    fn raw(&self, ask: &Ask<'_>, candidates: &Candidates, row: usize) -> Raw {
        Raw {
            value: f64::from(u8::from(self.matches(ask, candidates, row))),
            unit: units::LABEL,
        }
    }

    fn headers(&self) -> &[String] {
        &self.header
    }
}
