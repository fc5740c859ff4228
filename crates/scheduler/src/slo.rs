//! How long may this request's tokens take?

/// Header with the longest time to the first token, ms.
pub(crate) const TTFT_HEADER: &str = "x-llm-d-slo-ttft-ms";
/// Header with the longest time for each further token, ms.
pub(crate) const TPOT_HEADER: &str = "x-llm-d-slo-tpot-ms";

/// What a request's headers ask for, milliseconds; `None` where they ask for nothing that can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Slo {
    pub ttft_ms: Option<f32>,
    pub tpot_ms: Option<f32>,
}

impl Slo {
    /// As `headers` (lower case) say; the time of a token counts `buffer` times.
    pub fn told(headers: &[(&str, &str)], buffer: f32) -> Self {
        let read = |name: &str| {
            let (_, value) = headers.iter().find(|(known, _)| *known == name)?;
            let ms: f32 = value.trim().parse().ok()?;
            (ms.is_finite() && ms > 0.0).then_some(ms)
        };
        Self {
            ttft_ms: read(TTFT_HEADER),
            tpot_ms: read(TPOT_HEADER).map(|ms| ms * buffer),
        }
    }

    pub fn is_told(&self) -> bool {
        self.ttft_ms.is_some() || self.tpot_ms.is_some()
    }

    /// What `ttft_ms` and `token_ms` leave of it, each, below 0 where it is missed.
    pub(crate) fn headroom(&self, ttft_ms: f32, token_ms: f32) -> [Option<f32>; 2] {
        [
            self.ttft_ms.map(|slo| slo - ttft_ms),
            self.tpot_ms.map(|slo| slo - token_ms),
        ]
    }

    /// Whether both are kept.
    pub(crate) fn is_kept(&self, ttft_ms: f32, token_ms: f32) -> bool {
        let headroom = self.headroom(ttft_ms, token_ms);
        headroom.iter().flatten().all(|left| *left > 0.0)
    }
}

/// What a plugin that looks at these times reads.
pub(crate) fn headers() -> Vec<String> {
    vec![TTFT_HEADER.to_owned(), TPOT_HEADER.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_they_come() {
        let check = |ttft: &str, tpot: &str, expected: [Option<f32>; 2]| {
            let slo = Slo::told(&[(TTFT_HEADER, ttft), (TPOT_HEADER, tpot)], 2.0);
            assert_eq!([slo.ttft_ms, slo.tpot_ms], expected, "{ttft} {tpot}");
        };
        check("250", "10.5", [Some(250.0), Some(21.0)]);
        check(" 1e3 ", "-1", [Some(1000.0), None]);
        check("soon", "NaN", [None, None]);
        check("0", "inf", [None, None]);
    }
}
